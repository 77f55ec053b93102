#ifndef MINIINFER_ABI_OP_REDUCE_H
#define MINIINFER_ABI_OP_REDUCE_H

// reduce/1: combines the elements of a window into one.
//
// A window has an extent on every axis: output element o along an axis combines input positions
// o*stride + k*dilation - pad_begin for k in [0, window), leaving out positions outside the input.
// Reducing whole axes is a window as long as the axis (and output size 1); pooling is a window on
// the spatial axes. Input and output have equal rank; an axis that is not reduced has window 1,
// stride 1 and no padding.
//
// float16 and bfloat16 accumulate in float32; integer sums wrap. MEAN divides by the number of
// positions combined, or, with count_pad, by the positions inside input plus padding. A window with
// no position gives the identity: 0 for SUM, 1 for PROD, the lowest value for MAX, the highest for
// MIN (infinities where the type has them), NaN for MEAN.
//
// ARGMAX and ARGMIN reduce one whole axis and give INT64 positions along it; the first one wins a
// tie, or the last with select_last; a NaN wins over every number, in both. MAX may have a second
// output (INT64, the first maximum's position in the input, flattened row-major; column-major over
// the axes from 2 on with index_column_major; -1 for a window with no position). MEAN of integers
// rounds toward zero; with no position it is 0.

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_REDUCE "reduce/1"

enum {
  MINIINFER_REDUCE_SUM = 0,
  MINIINFER_REDUCE_MEAN = 1,
  MINIINFER_REDUCE_MAX = 2,  // NaN if any is NaN
  MINIINFER_REDUCE_MIN = 3,
  MINIINFER_REDUCE_PROD = 4,
  MINIINFER_REDUCE_ARGMAX = 5,
  MINIINFER_REDUCE_ARGMIN = 6
};

typedef struct miniinfer_reduce_attrs {
  miniinfer_head head;
  int32_t kind;  // MINIINFER_REDUCE_*
  uint32_t count_pad;
  uint32_t select_last;
  uint32_t index_column_major;
  int64_t window[MINIINFER_MAX_RANK];
  int64_t stride[MINIINFER_MAX_RANK];
  int64_t dilation[MINIINFER_MAX_RANK];
  int64_t pad_begin[MINIINFER_MAX_RANK];
  int64_t pad_end[MINIINFER_MAX_RANK];
} miniinfer_reduce_attrs;

#ifdef __cplusplus
}
#endif

#endif
