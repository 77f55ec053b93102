#ifndef MINIINFER_PLUGINS_FAKE_LEDGER_H
#define MINIINFER_PLUGINS_FAKE_LEDGER_H

// miniinfer.fake.ledger/1: what the fake backend has counted. The same table is the answer of the
// plugin's and of a device's `extension`; it outlives the device.

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_FAKE_LEDGER "miniinfer.fake.ledger/1"

// Since the device was last opened. live_* must be 0 when it is closed.
typedef struct miniinfer_fake_ledger {
  miniinfer_head head;
  uint64_t live_allocations;
  uint64_t live_bytes;
  uint64_t live_streams;
  uint64_t live_events;
  uint64_t live_kernels;
  uint64_t allocations;
  uint64_t peak_bytes;
  uint64_t launches;
  uint64_t copies;
  uint64_t copied_bytes;
  uint64_t fills;
  uint64_t syncs;
  uint64_t faults_fired;  // of the fault plan
  uint64_t violations;    // calls that the boundary's rules forbid
  uint64_t replays;       // launches of recorded work
  uint64_t live_graphs;
  uint64_t live_ranges;  // reserved addresses
  uint64_t live_pieces;  // of memory that can be mapped; in live_bytes, too
  uint64_t pieces;
  uint64_t peer_copies;  // to this device
} miniinfer_fake_ledger;

typedef struct miniinfer_fake_ledger_api {
  miniinfer_head head;
  // Fills in as much of `out` as its head has room for. MINIINFER_NOT_FOUND for an ordinal that was
  // never opened. [any-thread]
  miniinfer_code (*read)(uint32_t ordinal, miniinfer_fake_ledger* out);
  // A sentence about violation `index`, or null past the last one (64 are kept). Lives until the
  // device is opened again. [any-thread]
  const char* (*violation)(uint32_t ordinal, uint64_t index);
} miniinfer_fake_ledger_api;

#ifdef __cplusplus
}
#endif

#endif
