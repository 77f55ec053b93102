#ifndef MINIINFER_ABI_OP_SELECT_H
#define MINIINFER_ABI_OP_SELECT_H

// Operators that choose elements by their value.
//
// top_k/1: the k largest (or smallest) along an axis, k being the output's size there. One input;
// outputs values and INT64 positions. Equal values keep the order of their positions.
//
// non_zero/1: the positions of elements that are not zero, as INT64 [rank, count]; one input.
//
// non_max_suppression/1: ONNX NonMaxSuppression. Inputs boxes [batch, n, 4] and scores [batch,
// classes, n]; output INT64 [selected, 3].
//
// cum_sum/1: running sums along an axis; one input, one output of its shape.
//
// non_zero and non_max_suppression do not know how much they will give. Their first output has the
// upper bound as its dims; the second, INT64 with one element, says how many positions
// (columns of non_zero, rows of non_max_suppression) were written. The first output is dense in
// that count: non_zero writes [rank, count] without gaps.

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_TOP_K "top_k/1"
#define MINIINFER_NON_ZERO "non_zero/1"
#define MINIINFER_NON_MAX_SUPPRESSION "non_max_suppression/1"
#define MINIINFER_CUM_SUM "cum_sum/1"

typedef struct miniinfer_top_k_attrs {
  miniinfer_head head;
  int32_t axis;
  uint32_t largest;
  uint32_t sorted;
  uint32_t reserved;
} miniinfer_top_k_attrs;

typedef struct miniinfer_non_zero_attrs {
  miniinfer_head head;
} miniinfer_non_zero_attrs;

typedef struct miniinfer_non_max_suppression_attrs {
  miniinfer_head head;
  int64_t max_per_class;
  float iou_threshold;
  float score_threshold;  // -infinity: none
  uint32_t center_point;  // boxes are [x, y, w, h], otherwise two corners [y1, x1, y2, x2]
  uint32_t reserved;
} miniinfer_non_max_suppression_attrs;

typedef struct miniinfer_cum_sum_attrs {
  miniinfer_head head;
  int32_t axis;
  uint32_t exclusive;
  uint32_t reverse;
  uint32_t reserved;
} miniinfer_cum_sum_attrs;

#ifdef __cplusplus
}
#endif

#endif
