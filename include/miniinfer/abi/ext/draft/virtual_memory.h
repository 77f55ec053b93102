#ifndef MINIINFER_ABI_EXT_DRAFT_VIRTUAL_MEMORY_H
#define MINIINFER_ABI_EXT_DRAFT_VIRTUAL_MEMORY_H

// Draft: address ranges that memory is mapped into piece by piece, so that a pool can grow without
// moving and give back what it no longer needs.
//
// A range is reserved once (it costs no memory), physical pieces are created, mapped at multiples
// of `granularity`, and unmapped when no work that touches them is in flight.

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_EXT_VIRTUAL_MEMORY "miniinfer.virtual_memory/1"

typedef struct miniinfer_physical miniinfer_physical;

typedef struct miniinfer_virtual_memory {
  miniinfer_head head;
  // What sizes and offsets are multiples of; a power of two. [any-thread]
  uint64_t (*granularity)(miniinfer_device* device);
  // [any-thread]
  miniinfer_code (*reserve)(miniinfer_device* device, uint64_t bytes, uint64_t* out_address);
  // Nothing is mapped in the range. [any-thread]
  void (*release)(miniinfer_device* device, uint64_t address, uint64_t bytes);
  // MINIINFER_OUT_OF_MEMORY when the device has no such piece left. [any-thread]
  miniinfer_code (*create)(miniinfer_device* device, uint64_t bytes, miniinfer_physical** out);
  // Not mapped anywhere. [any-thread]
  void (*destroy)(miniinfer_device* device, miniinfer_physical* physical);
  // Maps the whole piece at an address inside a reserved range. [any-thread]
  miniinfer_code (*map)(miniinfer_device* device, uint64_t address, miniinfer_physical* physical);
  // [any-thread]
  miniinfer_code (*unmap)(miniinfer_device* device, uint64_t address, uint64_t bytes);
} miniinfer_virtual_memory;

#ifdef __cplusplus
}
#endif

#endif
