#ifndef MINIINFER_ABI_DEVICE_H
#define MINIINFER_ABI_DEVICE_H

// A device: what is known about it before it is opened, and what it can do once it is.

#include "miniinfer/abi/base.h"
#include "miniinfer/abi/op.h"
#include "miniinfer/abi/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t miniinfer_device_kind;
enum { MINIINFER_KIND_CPU = 0, MINIINFER_KIND_GPU = 1, MINIINFER_KIND_ACCELERATOR = 2 };

enum {
  MINIINFER_DEVICE_INLINE = 1u << 0,        // work is done when a call returns; no stream table
  MINIINFER_DEVICE_FLAT_ADDRESS = 1u << 1,  // handle + offset is an address
  MINIINFER_DEVICE_HOST_VISIBLE = 1u << 2   // the host can read and write device memory
};

// Filled by `probe`. Ordinals count from 0 in bus order after visibility filters and never change.
typedef struct miniinfer_device_info {
  miniinfer_head head;
  miniinfer_device_kind kind;
  uint32_t flags;             // MINIINFER_DEVICE_*
  int32_t rank;               // who is used first when the user names no device; larger wins
  int32_t dlpack_type;        // DLDeviceType of the device's memory; 0: none
  uint64_t memory_bytes;      // total; 0: unknown until opened
  uint64_t dtypes;            // bit n: element type n can be computed with
  uint64_t memory_alignment;  // what kernels want their operands aligned to; a power of two
  char stable_id[64];         // bus id or uuid; the same in the next process
  char name[128];             // for people: "AMD EPYC 7B13, avx2"
  char memory_domain[64];     // devices of one domain exchange memory without copying; "host"
  char bus_id[32];            // "0000:65:00.0"; empty: none
  char driver[64];            // version text; empty: none
} miniinfer_device_info;

typedef struct miniinfer_device_api {
  miniinfer_head head;
  const miniinfer_stream_api* stream;  // null for an INLINE device
  const miniinfer_op_api* op;

  // Waits for all work of the device. [any-thread]
  miniinfer_code (*sync)(miniinfer_device* device);
  // What `probe` could not know (memory). `info` keeps the ordinal's identity. [any-thread]
  miniinfer_code (*info)(miniinfer_device* device, miniinfer_device_info* info);
  // An optional capability by id ("miniinfer.graph_capture/1"), or null. Ids compare exactly.
  // [any-thread]
  const void* (*extension)(miniinfer_device* device, const char* id);
  // Everything made from the device has been destroyed. Also called on a lost device, where it
  // releases what it can and does not wait. [any-thread]
  void (*close)(miniinfer_device* device);
} miniinfer_device_api;

#ifdef __cplusplus
}
#endif

#endif
