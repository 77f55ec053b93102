#pragma once

// A pool over a device's raw memory.
//
// The driver is asked rarely, in large pieces; blocks are cut from what it gave, and merged again
// when they come back. What a stream's work used last is given to the same stream at once, and to
// others when that work is known to be done, so that the usual case asks the driver for nothing at
// all. Where the device can map memory, all blocks of one lifetime lie in one range of addresses:
// memory that is not needed in one place is moved to another, and what is reserved stays close to
// what is in use however sizes change.
//
// `AllocatorFactory::get("cuda:0/caching")` gives one; docs/memory.md tells the whole story.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/allocator.hpp"

namespace miniinfer {

struct PoolOptions {
  std::uint64_t limit = ~std::uint64_t{0};  // bytes reserved from the device, at most
  // Each thread keeps blocks it gave back for itself, up to so many bytes: no lock is taken for
  // them. 0: none are kept.
  std::uint64_t thread_cache_bytes = std::uint64_t{64} << 20;
  bool virtual_memory = true;  // map memory where the device can
  // Each block is announced to the device while it is in use, so that its tools see blocks and not
  // only what was asked of the driver: for finding errors, not for speed. Memory is not mapped, no
  // thread keeps any, and a block that comes back is waited for. Without effect on a device that
  // does not listen.
  bool annotate = false;
  // Memory is moved rather than asked for where more than so much of the peak in use is reserved.
  double slack = 1.02;
};

// Counters as PyTorch's torch.cuda.memory_stats names them.
struct PoolCounter {
  std::uint64_t current = 0;
  std::uint64_t peak = 0;
  std::uint64_t allocated = 0;  // in all, since the beginning
  std::uint64_t freed = 0;
};

struct PoolStats {
  PoolCounter allocation;                  // blocks in use; no peak is kept
  PoolCounter allocated_bytes;             // in them, as cut; the peak is with the threads' caches
  PoolCounter requested_bytes;             // in them, as asked for; no peak is kept
  PoolCounter segment;                     // pieces of the driver's
  PoolCounter reserved_bytes;              // in them
  std::uint64_t cached_bytes = 0;          // in the threads' own caches
  std::uint64_t inactive_split_bytes = 0;  // free, beside blocks in use
  std::uint64_t largest_free_bytes = 0;
  std::uint64_t num_alloc_retries = 0;  // requests that came to the steps below the pool's own
  std::uint64_t num_ooms = 0;           // requests that failed
  std::uint64_t num_sync_all_streams = 0;
  std::uint64_t num_device_alloc = 0;  // pieces asked of the driver
  std::uint64_t num_device_free = 0;
  std::uint64_t num_moves = 0;          // pieces mapped elsewhere
  std::uint64_t num_driver_calls = 0;   // of every kind
  std::uint64_t num_refused_frees = 0;  // twice, foreign or damaged; each was logged
};

// Why memory could not be had, in numbers: Status::memory_report() of a request that failed. What
// was not found out is 0 or empty.
struct MemoryReport {
  struct Share {
    std::string name;
    std::uint64_t bytes = 0;
  };
  struct Step {
    std::string name;
    std::uint64_t nanoseconds = 0;
  };

  std::string device;  // "cuda:0"; "cuda:0/pinned"
  std::string tag;     // of the request
  std::uint64_t asked_bytes = 0;

  std::string limit;  // the name of the limit that refused; empty: the device itself
  std::uint64_t limit_bytes = 0;
  std::uint64_t limit_used_bytes = 0;
  std::uint64_t device_free_bytes = 0;
  std::uint64_t device_total_bytes = 0;

  std::uint64_t reserved_bytes = 0;      // of the device, by the pool
  std::uint64_t allocated_bytes = 0;     // of them in use
  std::uint64_t cached_bytes = 0;        // of them kept by threads; counted as in use
  std::uint64_t largest_free_bytes = 0;  // in one block
  double fragmentation = 0;              // the part of what is free that is not in that block
  std::vector<Share> held_back;          // free once work that was queued is done, by stream
  std::vector<Share> tags;               // in use, by what it was asked for, most first
  std::vector<Step> steps;               // tried, in their order
};

// A line for each thing that is known, for people.
MINIINFER_API std::vector<std::string> to_lines(const MemoryReport& report);

// What a capture's blocks are known by.
using CaptureId = std::uint64_t;

class MINIINFER_API PoolAllocator : public Allocator {
 public:
  PoolAllocator* pool() noexcept override { return this; }

  // Streams are told to the pool before they are named in a request or a deallocate, and forgotten
  // before they are destroyed, when their work is done. Streams of contexts and sessions are told
  // by those.
  virtual Status add_stream(Stream stream) noexcept = 0;
  virtual void remove_stream(Stream stream) noexcept = 0;
  // The host has waited for all work of the stream: what it gave back is free for every stream. No
  // other thread gives blocks back on it meanwhile.
  virtual void synced(Stream stream) noexcept = 0;
  // Work of another stream uses the block as well: it is not given out again before that is done.
  virtual void record_use(const Block& block, Stream stream) noexcept = 0;

  // Between these the stream is being recorded: no event is put on it, and what is given back to it
  // is kept for the graph until release_capture. By then the graph runs on no other stream.
  virtual Result<CaptureId> begin_capture(Stream stream) noexcept = 0;
  virtual void end_capture(CaptureId capture) noexcept = 0;
  virtual void release_capture(CaptureId capture) noexcept = 0;

  // Gives memory back to the driver until no more than `keep_bytes` are reserved, or until all that
  // is left is in use. Gives the bytes given back.
  virtual std::uint64_t trim(std::uint64_t keep_bytes) noexcept = 0;
  // A lower limit than what is reserved trims; what is in use stays.
  virtual void set_limit(std::uint64_t bytes) noexcept = 0;

  // Called by a thread whose request for so many bytes nothing serves, before streams are waited
  // for: who can do without some memory gives it back now. A hook is called without locks, may
  // allocate and free, and trim other pools; it does not remove hooks. After remove_release_hook it
  // does not run, nor will.
  using ReleaseHook = std::function<void(std::uint64_t bytes)>;
  virtual std::uint64_t add_release_hook(ReleaseHook hook) = 0;
  virtual void remove_release_hook(std::uint64_t id) noexcept = 0;

  virtual PoolStats pool_stats() const noexcept = 0;
  // What is wrong with the pool's own bookkeeping; empty: nothing. For tests.
  virtual std::string check() const = 0;
};

}  // namespace miniinfer
