#pragma once

#include <cstdint>

#include "miniinfer/allocator.hpp"

namespace miniinfer {

// What the memory layer needs of a device to build on it: raw blocks, as slow as the driver makes
// them, and places in the work of its streams. core/device implements it over a plugin's tables.
// Everything is [any-thread] unless a tag says otherwise.
class MemoryUpstream {
 public:
  // A place in a stream's work, by its opaque handle.
  struct Event {
    void* handle = nullptr;
  };

  struct Properties {
    MemoryKind kind = MemoryKind::Device;
    std::uint64_t min_alignment = 1;  // what every raw block is aligned to, at least
    std::uint64_t max_bytes = 0;      // the largest raw block; 0: unknown
    bool flat_address = false;        // handle + offset is an address
    bool ordered = false;  // work is queued on streams; otherwise done when a call returns
  };

  MemoryUpstream() = default;
  MemoryUpstream(const MemoryUpstream&) = delete;
  MemoryUpstream& operator=(const MemoryUpstream&) = delete;
  virtual ~MemoryUpstream() = default;

  virtual const Properties& properties() const noexcept = 0;

  // Takes at least 1 byte. OUT_OF_MEMORY with asked and free bytes when there is no room.
  virtual Result<Block> allocate_raw(std::uint64_t bytes, std::uint64_t alignment,
                                     Stream stream) noexcept = 0;
  // Takes back exactly what allocate_raw gave.
  virtual void deallocate_raw(const Block& block, Stream stream) noexcept = 0;
  virtual MemoryInfo info() const noexcept = 0;

  // Events, where properties().ordered; FAILED_PRECONDITION elsewhere.
  virtual Result<Event> create_event() noexcept = 0;
  virtual void destroy_event(Event event) noexcept = 0;
  virtual Status record(Event event, Stream stream) noexcept = 0;  // [one-at-a-time per stream]
  virtual Status wait(Event event, Stream stream) noexcept = 0;    // [one-at-a-time per stream]
  virtual Result<bool> done(Event event) noexcept = 0;             // never waits
  virtual Status sync(Event event) noexcept = 0;
};

}  // namespace miniinfer
