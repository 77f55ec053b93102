#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "miniinfer/abi/ext/draft/virtual_memory.h"
#include "miniinfer/abi/memory.h"
#include "plugins/fake/backing.hpp"
#include "plugins/fake/room.hpp"
#include "plugins/fake/settings.hpp"

namespace miniinfer::fake {

class Device;

// What became of looking for a place: why it may not be used, or where it is.
struct Place {
  const char* wrong = nullptr;
  std::byte* at = nullptr;
};

// Ranges of addresses and pieces of memory mapped there. All that a driver would crash on, or would
// let pass and corrupt memory, is a violation. What a call takes away while work may use it is one,
// too. [any-thread]
class Mapping {
 public:
  Mapping(Device& device, Room& room, const Settings& settings);
  ~Mapping();

  // miniinfer.virtual_memory/1, or null where the device has none.
  const miniinfer_virtual_memory* api() const;
  std::uint64_t granularity() const { return granularity_; }

  // Each begins a call of the fault plan and throws what is wrong with it.
  std::uint64_t reserve(std::uint64_t bytes);
  void release(std::uint64_t address, std::uint64_t bytes);
  std::uint64_t create(std::uint64_t bytes);  // a piece's number, from 1
  void destroy(std::uint64_t piece);
  void map(std::uint64_t address, std::uint64_t piece);
  void unmap(std::uint64_t address, std::uint64_t bytes);
  void set_access(std::uint64_t address, std::uint64_t bytes, miniinfer_access access);

  // The place of a memory that is named by a range; nothing where no range has it. Only work that
  // is `running` gets to know where it is.
  std::optional<Place> find(miniinfer_mem mem, std::uint64_t bytes, bool running);

 private:
  struct Piece {
    explicit Piece(std::uint64_t size) : bytes(size), pages(size) {}
    std::uint64_t bytes;
    Pages pages;
    std::uint64_t address = 0;          // 0: mapped nowhere
    std::optional<std::uint64_t> file;  // where its contents are, once there are any
    bool access = false;
    bool at_host = false;  // its contents are at the range's `host`
  };
  using Map = std::map<std::uint64_t, Piece*>;  // by offset
  struct Range {
    std::uint64_t bytes;
    std::byte* host = nullptr;  // made when first used
    Map map;
  };
  using Ranges = std::map<std::uint64_t, Range>;

  [[noreturn, gnu::format(printf, 2, 3)]] void refuse(const char* format, ...);
  void check_size(const char* call, std::uint64_t address, std::uint64_t bytes);
  Ranges::iterator around(std::uint64_t address, std::uint64_t bytes);
  // The pieces that fill a stretch of a range; `call` names what wants them.
  std::pair<Map::iterator, Map::iterator> pieces(Ranges::iterator range, std::uint64_t address,
                                                 std::uint64_t bytes, const char* call);
  void bring(Range& range, std::uint64_t offset, Piece& piece);

  Device& device_;
  Room& room_;
  const std::uint64_t granularity_;
  const bool flat_;
  std::mutex mutex_;
  Ranges ranges_;
  std::map<std::uint64_t, Piece> pieces_;
  std::uint64_t pieces_made_ = 0;
  BackingFile file_;
};

}  // namespace miniinfer::fake
