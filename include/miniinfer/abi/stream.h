#ifndef MINIINFER_ABI_STREAM_H
#define MINIINFER_ABI_STREAM_H

// Streams, events, copies and fills.
//
// A stream is a queue of work that runs in the order it was put there. Calls return as soon as the
// work is queued; a failure of work that ran later is reported by `sync`, `query` or an event of
// that stream and stays with the stream. Events order streams of one device. Events never cross
// plugins: the host takes results through host memory there.
//
// A device that says MINIINFER_DEVICE_INLINE finishes all work before the call returns. It leaves
// this table out, and its kernels receive a null stream.

#include "miniinfer/abi/base.h"
#include "miniinfer/abi/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t miniinfer_copy_direction;
enum {
  MINIINFER_COPY_HOST_TO_DEVICE = 0,
  MINIINFER_COPY_DEVICE_TO_HOST = 1,
  MINIINFER_COPY_DEVICE_TO_DEVICE = 2  // both ends on this device
};

typedef struct miniinfer_stream_api {
  miniinfer_head head;

  // Makes a stream. `native` is null, or the vendor's own stream to work on (then `destroy` leaves
  // that one alive). `priority` is a hint: larger is more urgent, 0 is usual. [any-thread]
  miniinfer_code (*create)(miniinfer_device* device, int32_t priority, void* native,
                           miniinfer_stream** out);
  // Waits for the stream's work, then frees it. [any-thread]
  void (*destroy)(miniinfer_stream* stream);
  // Waits until all work put on the stream so far is done. [any-thread]
  miniinfer_code (*sync)(miniinfer_stream* stream);
  // Sets `*out_done` to 1 if that work is done, else 0. Never waits. [any-thread]
  miniinfer_code (*query)(miniinfer_stream* stream, uint32_t* out_done);
  // The vendor's own stream, or null. [any-thread]
  void* (*native)(miniinfer_stream* stream);

  // Copies `bytes` bytes. Memory of the host is {address, 0} and must stay valid until the copy is
  // done; pageable host memory is allowed and may be slower. Ranges do not overlap.
  // [one-at-a-time per stream]
  miniinfer_code (*copy)(miniinfer_stream* stream, miniinfer_copy_direction direction,
                         miniinfer_mem dst, miniinfer_mem src, uint64_t bytes);
  // Fills `bytes` bytes with a pattern of 1, 2, 4 or 8 bytes taken from the low end of `pattern`.
  // `bytes` is a multiple of `pattern_bytes`. [one-at-a-time per stream]
  miniinfer_code (*fill)(miniinfer_stream* stream, miniinfer_mem dst, uint64_t bytes,
                         uint64_t pattern, uint32_t pattern_bytes);

  // An event marks a place in a stream's work. [any-thread]
  miniinfer_code (*event_create)(miniinfer_device* device, miniinfer_event** out);
  void (*event_destroy)(miniinfer_event* event);
  // Moves the event to the stream's present end. Another thread may be putting work there, which
  // then comes before the event or after it: a pool marks streams that are not its own.
  // [any-thread]
  miniinfer_code (*event_record)(miniinfer_event* event, miniinfer_stream* stream);
  // Makes work that is put on `stream` from now on wait for what the event marks. [any-thread]
  miniinfer_code (*event_wait)(miniinfer_event* event, miniinfer_stream* stream);
  // Waits for the event on the calling thread, or asks without waiting. [any-thread]
  miniinfer_code (*event_sync)(miniinfer_event* event);
  miniinfer_code (*event_query)(miniinfer_event* event, uint32_t* out_done);
  // Device time between two events that are done. Optional. [any-thread]
  miniinfer_code (*event_elapsed)(miniinfer_event* from, miniinfer_event* to, uint64_t* out_ns);
} miniinfer_stream_api;

#ifdef __cplusplus
}
#endif

#endif
