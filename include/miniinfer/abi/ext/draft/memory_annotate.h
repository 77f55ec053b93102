#ifndef MINIINFER_ABI_EXT_DRAFT_MEMORY_ANNOTATE_H
#define MINIINFER_ABI_EXT_DRAFT_MEMORY_ANNOTATE_H

// Draft: telling a device's tools which part of its memory is in use. A pool asks the driver for
// large pieces and gives out blocks of them; a tool that watches over memory accesses sees the
// pieces alone, and a write past a block's end that meets another block looks right to it.
//
//   1. heap_register(..)      a piece of memory becomes a heap: what lies in no region of it is not
//                             to be touched
//   2. region_register(..)    a block that is given out, in bytes as they were asked for
//   3. region_name(..)        what it is for
//   4. region_unregister(..)  it came back, and no work in flight uses it
//   5. heap_unregister(..)    before the piece is given back to the driver; regions in it go too
//
// A device offers it by its `extension`, whether or not a tool listens. Calls are seldom fast: a
// pool that makes them is not one to be measured.

#include "miniinfer/abi/base.h"
#include "miniinfer/abi/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_EXT_MEMORY_ANNOTATE "miniinfer.memory_annotate/1"

typedef struct miniinfer_heap miniinfer_heap;

typedef struct miniinfer_memory_annotate {
  miniinfer_head head;
  // A whole block that the device's allocator gave. Null: nobody listens to what is said of it.
  // `name` is copied. [any-thread]
  miniinfer_heap* (*heap_register)(miniinfer_device* device, miniinfer_mem mem, uint64_t bytes,
                                   const char* name);
  // Of a heap that is not null, as all below. [any-thread]
  void (*heap_unregister)(miniinfer_device* device, miniinfer_heap* heap);
  // Inside the heap, over no other region. [any-thread]
  void (*region_register)(miniinfer_device* device, miniinfer_heap* heap, miniinfer_mem mem,
                          uint64_t bytes);
  // Of a region, by where it begins. `name` is copied. [any-thread]
  void (*region_name)(miniinfer_device* device, miniinfer_heap* heap, miniinfer_mem mem,
                      const char* name);
  // [any-thread]
  void (*region_unregister)(miniinfer_device* device, miniinfer_heap* heap, miniinfer_mem mem);
} miniinfer_memory_annotate;

#ifdef __cplusplus
}
#endif

#endif
