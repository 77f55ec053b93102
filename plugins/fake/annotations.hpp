#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "miniinfer/abi/ext/draft/memory_annotate.h"
#include "plugins/fake/oracle.h"

namespace miniinfer::fake {

class Device;

// What a pool has announced: heaps and the regions in them. What a tool would be misled by is a
// violation: a region outside its heap or over another, one that is taken back and is none, a heap
// that is left. [any-thread]
class Annotations {
 public:
  explicit Annotations(Device& device) : device_(device) {}
  ~Annotations();

  static const miniinfer_memory_annotate* api();

  miniinfer_heap* add_heap(miniinfer_mem mem, std::uint64_t bytes);
  void remove_heap(const miniinfer_heap* heap);
  void add_region(const miniinfer_heap* heap, miniinfer_mem mem, std::uint64_t bytes);
  void name_region(const miniinfer_heap* heap, miniinfer_mem mem, const char* name);
  void remove_region(const miniinfer_heap* heap, miniinfer_mem mem);

  // By place; names live as long as their regions.
  std::vector<miniinfer_fake_region> regions();

 private:
  struct Region {
    std::uint64_t bytes;
    std::string name;
  };
  struct Heap {
    miniinfer_mem mem;
    std::uint64_t bytes;
    std::map<std::uint64_t, Region> regions;  // by offset in the heap
  };

  Heap* find(const miniinfer_heap* heap, const char* call);

  Device& device_;
  std::mutex mutex_;
  std::map<std::uint64_t, Heap> heaps_;  // by number, from 1
  std::uint64_t next_ = 1;
};

}  // namespace miniinfer::fake
