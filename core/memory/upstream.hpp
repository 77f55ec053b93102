#pragma once

#include <cstdint>
#include <string>

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
    bool ordered = false;           // work is queued on streams; otherwise done when a call returns
    std::uint64_t granularity = 0;  // of mapping, a power of two; 0: memory cannot be mapped
  };

  // A raw block whose parts are announced.
  struct Heap {
    void* handle = nullptr;
  };

  // A piece of memory that can be mapped at an address.
  struct Physical {
    void* handle = nullptr;
  };

  MemoryUpstream() = default;
  MemoryUpstream(const MemoryUpstream&) = delete;
  MemoryUpstream& operator=(const MemoryUpstream&) = delete;
  virtual ~MemoryUpstream() = default;

  virtual const Properties& properties() const noexcept = 0;
  // Ok while memory of the device is good for anything: DEVICE_LOST, FAILED_PRECONDITION in a
  // process forked after the device was opened. Costs little.
  virtual Status ready() const noexcept { return {}; }

  // Takes at least 1 byte. OUT_OF_MEMORY with asked and free bytes when there is no room.
  virtual Result<Block> allocate_raw(std::uint64_t bytes, std::uint64_t alignment,
                                     Stream stream) noexcept = 0;
  // Takes back exactly what allocate_raw gave.
  virtual void deallocate_raw(const Block& block, Stream stream) noexcept = 0;
  virtual MemoryInfo info() const noexcept = 0;

  // Telling the device's tools which part of the memory is in use, where it listens().
  virtual bool listens() const noexcept { return false; }
  // A whole raw block. Null: nobody listens to what is said of it.
  virtual Heap add_heap(const Block&, const std::string& name) noexcept {
    static_cast<void>(name);
    return {};
  }
  // Before the block is given back; regions in it go with it.
  virtual void remove_heap(Heap) noexcept {}
  // A part of a heap that is not null, over no other.
  virtual void add_region(Heap, const Block& part, const std::string& name) noexcept {
    static_cast<void>(part), static_cast<void>(name);
  }
  virtual void remove_region(Heap, const Block& part) noexcept { static_cast<void>(part); }

  // Addresses and memory apart, where properties().granularity is not 0; UNSUPPORTED elsewhere.
  // Sizes and offsets are multiples of the granularity. Reserved addresses cost no memory.
  virtual Result<Block> reserve_addresses(std::uint64_t bytes) noexcept {
    return no_mapping(bytes);
  }
  // Nothing is mapped there.
  virtual void release_addresses(const Block&) noexcept {}
  // OUT_OF_MEMORY with asked and free bytes when there is no room.
  virtual Result<Physical> create_physical(std::uint64_t bytes) noexcept {
    return no_mapping(bytes);
  }
  // Mapped nowhere.
  virtual void destroy_physical(Physical) noexcept {}
  // The whole piece at an offset of reserved addresses. Nobody may touch it before set_access.
  virtual Status map(const Block& addresses, std::uint64_t offset, Physical,
                     std::uint64_t bytes) noexcept {
    static_cast<void>(addresses), static_cast<void>(offset);
    return no_mapping(bytes);
  }
  // One call for all pieces mapped in [offset, offset + bytes).
  virtual Status set_access(const Block& addresses, std::uint64_t offset,
                            std::uint64_t bytes) noexcept {
    static_cast<void>(addresses), static_cast<void>(offset);
    return no_mapping(bytes);
  }
  // Whole pieces, which no work in flight touches.
  virtual Status unmap(const Block& addresses, std::uint64_t offset, std::uint64_t bytes) noexcept {
    static_cast<void>(addresses), static_cast<void>(offset);
    return no_mapping(bytes);
  }

  // Events, where properties().ordered; FAILED_PRECONDITION elsewhere.
  virtual Result<Event> create_event() noexcept = 0;
  virtual void destroy_event(Event event) noexcept = 0;
  virtual Status record(Event event, Stream stream) noexcept = 0;
  virtual Status wait(Event event, Stream stream) noexcept = 0;
  virtual Result<bool> done(Event event) noexcept = 0;  // never waits
  virtual Status sync(Event event) noexcept = 0;

 protected:
  static Status no_mapping(std::uint64_t bytes) {
    return {Code::Unsupported, "mapping of " + std::to_string(bytes) +
                                   " bytes: the device keeps addresses and memory together"};
  }
};

}  // namespace miniinfer
