#ifndef MINIINFER_ABI_EXT_DRAFT_GRAPH_CAPTURE_H
#define MINIINFER_ABI_EXT_DRAFT_GRAPH_CAPTURE_H

// Draft: recording a steady run once and replaying it as one piece of work.
//
//   1. begin(stream)            what is put on the stream from now on is recorded, not run
//   2. copy, fill, enqueue ..   kernels whose choice said MINIINFER_CHOICE_CAPTURABLE; nothing that
//                               allocates, waits or reads back
//   3. end(stream, &graph)      or MINIINFER_UNSUPPORTED: the stream is as before, run eagerly
//   4. launch(graph, stream)    many times; every address is the one recorded
//
// Drafts may change while they stay in this folder; their id does not.

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_EXT_GRAPH_CAPTURE "miniinfer.graph_capture/1"

typedef struct miniinfer_graph miniinfer_graph;

typedef struct miniinfer_graph_capture {
  miniinfer_head head;
  // [one-at-a-time per stream]
  miniinfer_code (*begin)(miniinfer_stream* stream);
  // Ends the recording whatever the result. [one-at-a-time per stream]
  miniinfer_code (*end)(miniinfer_stream* stream, miniinfer_graph** out);
  // [one-at-a-time per stream]
  miniinfer_code (*launch)(miniinfer_graph* graph, miniinfer_stream* stream);
  // No launch of it is in flight. [any-thread]
  void (*destroy)(miniinfer_graph* graph);
} miniinfer_graph_capture;

#ifdef __cplusplus
}
#endif

#endif
