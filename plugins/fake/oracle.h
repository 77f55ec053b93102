#ifndef MINIINFER_PLUGINS_FAKE_ORACLE_H
#define MINIINFER_PLUGINS_FAKE_ORACLE_H

// miniinfer.fake.oracle/1: what tests of a memory layer need of a fake device, beside its ledger:
// work that pretends to use memory, and a say in how far the streams have come. An extension of the
// device.

#include "miniinfer/abi/base.h"
#include "miniinfer/abi/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_FAKE_ORACLE "miniinfer.fake.oracle/1"

typedef struct miniinfer_fake_use {
  miniinfer_mem mem;
  uint64_t bytes;
  uint32_t writes;  // 0: reads
  uint32_t reserved;
} miniinfer_fake_use;

// A region that was announced (abi/ext/draft/memory_annotate.h); its name lives as long as it.
typedef struct miniinfer_fake_region {
  miniinfer_mem mem;
  uint64_t bytes;
  const char* name;
} miniinfer_fake_region;

typedef struct miniinfer_fake_oracle_api {
  miniinfer_head head;
  // Puts work on the stream that uses memory as it says; on a device that works inline the stream
  // is null. `name` is for reports and lives as long as the device. Uses that nothing orders are
  // violations, as is memory that was given back or cannot be used yet (then also
  // MINIINFER_INVALID_ARGUMENT, and nothing is put). [one-at-a-time per stream]
  miniinfer_code (*touch)(miniinfer_device* device, miniinfer_stream* stream, const char* name,
                          const miniinfer_fake_use* uses, uint64_t count);
  // What a user of two streams does: work put on `second` from now on waits for what is on `first`;
  // the host waits for a stream. Neither is a call of the fault plan. [any-thread]
  void (*order)(miniinfer_device* device, miniinfer_stream* first, miniinfer_stream* second);
  miniinfer_code (*sync)(miniinfer_device* device, miniinfer_stream* stream);
  // Runs up to so many pieces of work, each of a stream that the seed chooses. Gives how many there
  // were. [any-thread]
  uint64_t (*advance)(miniinfer_device* device, uint64_t count);
  // Something that reports about the memory should tell, "allocated"; a text that lives as long as
  // the device. `stream` may be null. [any-thread]
  void (*note)(miniinfer_device* device, miniinfer_mem mem, uint64_t bytes, const char* what,
               miniinfer_stream* stream);
  // Follows another fault plan from here on, in which calls count from 1. [any-thread]
  miniinfer_code (*follow)(miniinfer_device* device, const char* plan);
  // Gives how many regions are announced, and writes the first `count` of them. [any-thread]
  uint64_t (*regions)(miniinfer_device* device, miniinfer_fake_region* out, uint64_t count);
} miniinfer_fake_oracle_api;

#ifdef __cplusplus
}
#endif

#endif
