#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <new>

#include "miniinfer/sdk/allocator.hpp"
#include "plugins/fake/backing.hpp"
#include "plugins/fake/mapping.hpp"
#include "plugins/fake/room.hpp"
#include "plugins/fake/settings.hpp"

namespace miniinfer::fake {

class Device;

// The device's memory: blocks, and ranges that are mapped piece by piece (mapping.hpp). A block is
// known by a number that is no address of the host's, so a host that looks into it crashes, and
// every use by a kernel or a copy is checked. Where the device has flat addresses any number inside
// a block names a place in it. Freed blocks are remembered for a while, so that their use is told
// from nonsense. [any-thread]
class Memory final : public sdk::Allocator {
 public:
  Memory(Device& device, const Settings& settings);

  miniinfer_mem allocate(std::uint64_t bytes, std::uint64_t alignment,
                         sdk::Stream* stream) override;
  void free(miniinfer_mem mem, std::uint64_t bytes, sdk::Stream* stream) noexcept override;
  // Of a device that works inline.
  void* host_pointer(miniinfer_mem mem) noexcept override;
  sdk::MemoryInfo info() override;

  // Where `bytes` bytes from `mem` are, for work that runs. Throws, and notes a violation, where
  // they are not all inside one live block or mapped. `what` names the use.
  std::byte* resolve(miniinfer_mem mem, std::uint64_t bytes, const char* what);
  // The same for work that is put on a stream, by what the host has done until now.
  void check(miniinfer_mem mem, std::uint64_t bytes, const char* what);

  Room& room() { return room_; }
  Mapping& mapping() { return mapping_; }

 private:
  struct Block {
    struct Delete {
      std::align_val_t alignment;
      void operator()(std::byte* bytes) const { operator delete[](bytes, alignment); }
    };
    Block(std::uint64_t size, std::uint64_t alignment)
        : size(size), pages(size), bytes(nullptr, Delete{std::align_val_t{alignment}}) {}

    std::uint64_t size;
    Pages pages;
    std::unique_ptr<std::byte[], Delete> bytes;  // made when first used
    bool given_back = false;                     // the host has
    bool gone = false;                           // in the order of the work, too
  };
  using Blocks = std::map<std::uint64_t, Block>;

  // The block around a place, or end().
  Blocks::iterator find(miniinfer_mem mem);
  static std::byte* prepare(Block& block, std::uint64_t offset, std::uint64_t bytes);
  Place block_place(miniinfer_mem mem, std::uint64_t bytes, bool running);
  std::byte* place(miniinfer_mem mem, std::uint64_t bytes, const char* what, bool running);
  void let_go(std::uint64_t handle);

  Device& device_;
  const bool flat_;
  const bool inline_;
  Room room_;
  Mapping mapping_;
  std::mutex mutex_;
  Blocks blocks_;
  std::deque<std::uint64_t> gone_;  // handles, oldest first
};

}  // namespace miniinfer::fake
