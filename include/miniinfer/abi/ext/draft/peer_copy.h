#ifndef MINIINFER_ABI_EXT_DRAFT_PEER_COPY_H
#define MINIINFER_ABI_EXT_DRAFT_PEER_COPY_H

// Draft: copying between the memories of two devices of one plugin, without the host's.
//
// A device offers it by its `extension`. Without it, and where `can` says no, the host copies
// through its own memory and waits in between.
//
// Drafts may change while they stay in this folder; their id does not.

#include "miniinfer/abi/base.h"
#include "miniinfer/abi/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_EXT_PEER_COPY "miniinfer.peer_copy/1"

typedef struct miniinfer_peer_copy {
  miniinfer_head head;
  // Whether `target` takes copies from `source`: 1 or 0. Both are open devices of the plugin, or
  // one of them twice. May be slow: what copies need later is made ready here. [any-thread]
  uint32_t (*can)(miniinfer_device* target, miniinfer_device* source);
  // Puts a copy on a stream of the target. It begins after what is on `from`, a stream of the
  // source, so far; what is put on `from` later begins after the copy. `dst` is device memory of
  // the target, `src` of the source. Never waits. A failure of the copy, or of what it waits for,
  // is reported by the target's stream; MINIINFER_DEVICE_LOST is said of the target alone.
  // [one-at-a-time per stream, for both]
  miniinfer_code (*enqueue)(miniinfer_stream* to, miniinfer_mem dst, miniinfer_stream* from,
                            miniinfer_mem src, uint64_t bytes);
} miniinfer_peer_copy;

#ifdef __cplusplus
}
#endif

#endif
