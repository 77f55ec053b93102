#ifndef MINIINFER_ABI_OP_GATHER_H
#define MINIINFER_ABI_OP_GATHER_H

// gather/1: picks elements by indices that are data (INT32 or INT64; negative counts from the end).
//
//   AXIS      out[i.., j.., k..] = data[i.., indices[j..], k..], the indices along `axis`
//   ELEMENTS  out[p] = data[p with p[axis] replaced by indices[p]]; out has the shape of indices
//   ND        the last axis of indices holds positions of the axes after the first `batch_dims`
//
// scatter/1 writes instead: inputs data, indices, updates; the output is data with updates put
// where gather would have read. ELEMENTS and ND only. `combine` says what happens to the old
// element; where several updates meet one element with SCATTER_SET any of them wins.
//
// An index out of range is MINIINFER_FAULT_INDEX; the element is then left 0 (gather) or as it was
// (scatter).

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_GATHER "gather/1"
#define MINIINFER_SCATTER "scatter/1"

enum { MINIINFER_GATHER_AXIS = 0, MINIINFER_GATHER_ELEMENTS = 1, MINIINFER_GATHER_ND = 2 };

enum {
  MINIINFER_SCATTER_SET = 0,
  MINIINFER_SCATTER_ADD = 1,
  MINIINFER_SCATTER_MUL = 2,
  MINIINFER_SCATTER_MAX = 3,
  MINIINFER_SCATTER_MIN = 4
};

typedef struct miniinfer_gather_attrs {
  miniinfer_head head;
  int32_t mode;  // MINIINFER_GATHER_*
  int32_t axis;
  int32_t batch_dims;
  uint32_t reserved;
} miniinfer_gather_attrs;

typedef struct miniinfer_scatter_attrs {
  miniinfer_head head;
  int32_t mode;  // MINIINFER_GATHER_ELEMENTS or MINIINFER_GATHER_ND
  int32_t axis;
  int32_t combine;  // MINIINFER_SCATTER_*
  uint32_t reserved;
} miniinfer_scatter_attrs;

#ifdef __cplusplus
}
#endif

#endif
