#pragma once

// Who has the memory.
//
// A tracker wraps any allocator and knows each block it gave that has not come back: what for, how
// large, the how-manieth, by which thread and for which stream. A block that comes back twice, or
// that never came from it, is logged and counted and not passed on. When it ends with blocks in use
// it says which, in one message of the log.
//
// `AllocatorFactory::get("cuda:0/caching/tracking")` gives one; Allocator::tracker() is the way to
// what it knows.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/allocator.hpp"

namespace miniinfer {

struct TrackingOptions {
  // Events that each thread keeps, the latest ones; 0: none. Reading the clock costs more than all
  // the rest.
  std::size_t history = 0;
  std::string name;  // in messages: "cuda:0"
};

// A block in use.
struct LiveBlock {
  std::string tag;
  std::uint64_t handle = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;     // as requested
  std::uint64_t sequence = 0;  // rises in each thread; that of another is taken 64 at a time
  std::uint64_t stream = 0;    // that it was asked for; its handle
  std::uint32_t thread = 0;    // that asked for it, as the system numbers it
};

struct TagStats {
  std::string tag;
  std::uint64_t blocks = 0;           // in use
  std::uint64_t bytes = 0;            // in them
  std::uint64_t allocations = 0;      // since the beginning
  std::uint64_t allocated_bytes = 0;  // in them
};

// Blocks in use that have tag and size in common.
struct LiveGroup {
  std::string tag;
  std::uint64_t block_bytes = 0;  // of each
  std::uint64_t blocks = 0;
};

struct MemoryEvent {
  enum class Kind { Allocate, Free, Failure };

  Kind kind = Kind::Allocate;
  std::chrono::steady_clock::time_point time;
  std::uint64_t address = 0;  // as in MemorySnapshot; 0 of a failure
  std::uint64_t bytes = 0;    // as requested
  std::uint64_t stream = 0;
  std::uint32_t thread = 0;
  std::string tag;
};

// Tags are told apart up to 255; what comes later is "others". [any-thread]
class MINIINFER_API TrackingAllocator : public Allocator {
 public:
  TrackingAllocator* tracker() noexcept override { return this; }

  // As of one moment where no other thread allocates; otherwise each is right for some moment of
  // the call.
  virtual std::vector<LiveBlock> live_blocks() const = 0;  // by sequence
  virtual std::vector<LiveGroup> live_groups() const = 0;  // most bytes first
  virtual std::vector<TagStats> tags() const = 0;          // most bytes in use first
  virtual std::vector<MemoryEvent> events() const = 0;     // by time
  // Blocks that came back twice, or from elsewhere.
  virtual std::uint64_t refused_frees() const noexcept = 0;
};

MINIINFER_API AllocatorPtr tracking_allocator(AllocatorPtr upstream,
                                              const TrackingOptions& options);

}  // namespace miniinfer
