#ifndef MINIINFER_ABI_MEMORY_H
#define MINIINFER_ABI_MEMORY_H

// Device memory.
//
// A piece of memory is a handle and a byte offset into what the handle names. On a device with a
// flat address space the handle is the address itself, so handle + offset is an address too (the
// device says MINIINFER_DEVICE_FLAT_ADDRESS); elsewhere it is a buffer object, and only the plugin
// that made it can tell what lies inside. Host memory is always the address with offset 0.
//
// A plugin gives raw memory only: one allocator table for each device and kind of memory, handed to
// miniinfer_host.register_allocator while the device is being opened. Pooling, limits and
// statistics are the host's; a raw allocator may therefore be as slow as the driver makes it.

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct miniinfer_mem {
  uint64_t handle;  // 0 is no memory
  uint64_t offset;
} miniinfer_mem;

typedef int32_t miniinfer_memory_kind;
enum {
  MINIINFER_MEMORY_DEVICE = 0,  // the fastest memory for the device's kernels
  MINIINFER_MEMORY_PINNED = 1,  // host memory that the device copies from and to without staging
  MINIINFER_MEMORY_HOST = 2     // ordinary host memory
};

typedef struct miniinfer_allocator {
  miniinfer_head head;
  void* self;                  // passed back to every function below
  miniinfer_memory_kind kind;  // which kind of memory this allocator gives
  uint32_t reserved;
  uint64_t min_alignment;  // what every block is aligned to, at least; a power of two
  uint64_t max_bytes;      // the largest single block; 0: unknown

  // Takes `bytes` bytes aligned to `alignment` into `*out`. The caller owns the block until `free`.
  //
  // bytes      at least 1: the host answers requests for nothing itself
  // alignment  a power of two, honoured and never ignored
  // stream     the stream that will use the block first; null: usable by any work put on any stream
  //            after the call returns
  //
  // MINIINFER_OUT_OF_MEMORY when there is no room (`*out` is untouched, nothing is left in an error
  // state, and the text says how much was asked for and how much is free). [any-thread]
  miniinfer_code (*alloc)(void* self, uint64_t bytes, uint64_t alignment, miniinfer_stream* stream,
                          miniinfer_mem* out);

  // Gives a block back: exactly what `alloc` returned, with the same `bytes`. `stream` null means
  // that no work using the block is in flight. Never fails as the host sees it. [any-thread]
  void (*free)(void* self, miniinfer_mem mem, uint64_t bytes, miniinfer_stream* stream);

  // Where the host can read and write the block, or null where it cannot. [any-thread]
  void* (*host_pointer)(void* self, miniinfer_mem mem);

  // Free and total bytes of the memory behind this allocator, as the system sees it now.
  // [any-thread]
  miniinfer_code (*info)(void* self, uint64_t* out_free, uint64_t* out_total);

  // Optional. Names memory that the application already owns (a device pointer, a buffer object) so
  // that kernels can use it; `release` forgets it without freeing it. [any-thread]
  miniinfer_code (*import_native)(void* self, void* native, uint64_t bytes, miniinfer_mem* out);
  void (*release_native)(void* self, miniinfer_mem mem);
} miniinfer_allocator;

#ifdef __cplusplus
}
#endif

#endif
