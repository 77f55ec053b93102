#ifndef MINIINFER_ABI_EXT_DRAFT_VIRTUAL_MEMORY_H
#define MINIINFER_ABI_EXT_DRAFT_VIRTUAL_MEMORY_H

// Draft: address ranges that memory is mapped into piece by piece, so that a pool can grow without
// moving and give back what it no longer needs.
//
//   1. reserve(bytes)         addresses alone: they cost no memory and nobody can touch them
//   2. create(bytes)          a physical piece, which has no address
//   3. map(address, piece)    the whole piece, at a multiple of `granularity` inside one range
//   4. set_access(..)         once for all pieces mapped since: this, not mapping, is what drivers
//                             take long for
//   5. unmap(..)              whole pieces; their contents stay, and each may be mapped again,
//                             there or elsewhere
//   6. destroy, release       pieces that are mapped nowhere, ranges in which nothing is mapped
//
// Sizes and offsets are multiples of `granularity`; an address below is that of a range plus an
// offset. As a miniinfer_mem a place in a range is {address of the range, offset}, whether or not
// the device has flat addresses. Nothing here is in the order of a stream: what a call takes away
// must not be touched by work in flight, and only the caller knows that.

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_EXT_VIRTUAL_MEMORY "miniinfer.virtual_memory/1"

typedef struct miniinfer_physical miniinfer_physical;

typedef int32_t miniinfer_access;
enum {
  MINIINFER_ACCESS_NONE = 0,
  MINIINFER_ACCESS_READ_WRITE = 1  // by all work of the device
};

typedef struct miniinfer_virtual_memory {
  miniinfer_head head;
  // What sizes and offsets are multiples of; a power of two. [any-thread]
  uint64_t (*granularity)(miniinfer_device* device);
  // MINIINFER_OUT_OF_MEMORY when there are no such addresses left. [any-thread]
  miniinfer_code (*reserve)(miniinfer_device* device, uint64_t bytes, uint64_t* out_address);
  // A whole range, in which nothing is mapped. [any-thread]
  void (*release)(miniinfer_device* device, uint64_t address, uint64_t bytes);
  // MINIINFER_OUT_OF_MEMORY when the device has no such piece left, with what was asked for and
  // what is free in the text. [any-thread]
  miniinfer_code (*create)(miniinfer_device* device, uint64_t bytes, miniinfer_physical** out);
  // Mapped nowhere. [any-thread]
  void (*destroy)(miniinfer_device* device, miniinfer_physical* physical);
  // Maps the whole piece where nothing is mapped. Memory that is mapped and has no access yet must
  // not be touched. A piece is mapped at one place at a time. [any-thread]
  miniinfer_code (*map)(miniinfer_device* device, uint64_t address, miniinfer_physical* physical);
  // Unmaps all pieces in the range, whole: a range that begins or ends within a piece is
  // MINIINFER_INVALID_ARGUMENT. Work in flight that touches them is the caller's error.
  // [any-thread]
  miniinfer_code (*unmap)(miniinfer_device* device, uint64_t address, uint64_t bytes);
  // Says who may touch whole pieces that lie side by side in the range, all of them mapped. Mapping
  // a piece anew takes its access away. [any-thread]
  miniinfer_code (*set_access)(miniinfer_device* device, uint64_t address, uint64_t bytes,
                               miniinfer_access access);
} miniinfer_virtual_memory;

#ifdef __cplusplus
}
#endif

#endif
