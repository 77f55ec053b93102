#pragma once

// One kind of memory of a device, raw: pooling, limits and statistics are the host's.

#include <cstdint>

#include "miniinfer/abi/memory.h"
#include "miniinfer/sdk/stream.hpp"

namespace miniinfer::sdk {

struct MemoryInfo {
  std::uint64_t free_bytes;
  std::uint64_t total_bytes;
};

struct AllocatorTraits {
  miniinfer_memory_kind kind = MINIINFER_MEMORY_DEVICE;
  std::uint64_t min_alignment = 64;  // of every block; a power of two
  std::uint64_t max_bytes = 0;       // largest single block; 0: unknown
  bool imports = false;              // import_native and release_native are implemented
};

// All functions may be called from several threads at once. The meaning of the arguments is that of
// miniinfer_allocator.
class Allocator {
 public:
  explicit Allocator(const AllocatorTraits& traits = {}) : traits_(traits) {}
  virtual ~Allocator() = default;
  const AllocatorTraits& traits() const noexcept { return traits_; }

  // Throws Error(MINIINFER_OUT_OF_MEMORY) saying how much was asked for and how much is free.
  virtual miniinfer_mem allocate(std::uint64_t bytes, std::uint64_t alignment, Stream* stream) = 0;
  virtual void free(miniinfer_mem mem, std::uint64_t bytes, Stream* stream) noexcept = 0;
  // Where the host reads and writes the block; null where it cannot.
  virtual void* host_pointer(miniinfer_mem mem) noexcept {
    static_cast<void>(mem);
    return nullptr;
  }
  virtual MemoryInfo info() = 0;

  virtual miniinfer_mem import_native(void* native, std::uint64_t bytes) {
    static_cast<void>(native);
    fail(MINIINFER_UNSUPPORTED, "cannot import %llu bytes of foreign memory",
         static_cast<unsigned long long>(bytes));
  }
  virtual void release_native(miniinfer_mem mem) noexcept { static_cast<void>(mem); }

 private:
  AllocatorTraits traits_;
};

namespace detail {

inline Allocator* allocator(void* self) noexcept { return static_cast<Allocator*>(self); }

inline miniinfer_code memory_alloc(void* self, std::uint64_t bytes, std::uint64_t alignment,
                                   miniinfer_stream* stream, miniinfer_mem* out) noexcept {
  return guard([&] { *out = allocator(self)->allocate(bytes, alignment, unwrap(stream)); });
}
inline void memory_free(void* self, miniinfer_mem mem, std::uint64_t bytes,
                        miniinfer_stream* stream) noexcept {
  allocator(self)->free(mem, bytes, unwrap(stream));
}
inline void* memory_host_pointer(void* self, miniinfer_mem mem) noexcept {
  return allocator(self)->host_pointer(mem);
}
inline miniinfer_code memory_info(void* self, std::uint64_t* out_free,
                                  std::uint64_t* out_total) noexcept {
  return guard([&] {
    const MemoryInfo info = allocator(self)->info();
    *out_free = info.free_bytes;
    *out_total = info.total_bytes;
  });
}
inline miniinfer_code memory_import(void* self, void* native, std::uint64_t bytes,
                                    miniinfer_mem* out) noexcept {
  return guard([&] { *out = allocator(self)->import_native(native, bytes); });
}
inline void memory_release(void* self, miniinfer_mem mem) noexcept {
  allocator(self)->release_native(mem);
}

inline miniinfer_allocator allocator_table(Allocator& allocator) noexcept {
  const AllocatorTraits& traits = allocator.traits();
  miniinfer_allocator table{};
  table.head = MINIINFER_HEAD(miniinfer_allocator);
  table.self = &allocator;
  table.kind = traits.kind;
  table.min_alignment = traits.min_alignment;
  table.max_bytes = traits.max_bytes;
  table.alloc = memory_alloc;
  table.free = memory_free;
  table.host_pointer = memory_host_pointer;
  table.info = memory_info;
  if (traits.imports) {
    table.import_native = memory_import;
    table.release_native = memory_release;
  }
  return table;
}

}  // namespace detail

}  // namespace miniinfer::sdk
