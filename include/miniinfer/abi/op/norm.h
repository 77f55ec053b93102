#ifndef MINIINFER_ABI_OP_NORM_H
#define MINIINFER_ABI_OP_NORM_H

// softmax/1: exp(x - max) / sum(exp(x - max)) along one axis, or its logarithm. One input, one
// output of its shape.
//
// layer_norm/1: (x - mean) / sqrt(variance + epsilon) * scale + bias over the axes from `axis` to
// the last; rms (no mean is taken off) with `rms`. Inputs x, scale, optional bias (both of x's
// trailing shape, or broadcast to it); outputs y and, if asked for, mean and 1 / sqrt(variance +
// epsilon) with those axes of size 1.
//
// Sums are taken in float32 at least; float64 in float64.

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_SOFTMAX "softmax/1"
#define MINIINFER_LAYER_NORM "layer_norm/1"

typedef struct miniinfer_softmax_attrs {
  miniinfer_head head;
  int32_t axis;
  uint32_t logarithm;
} miniinfer_softmax_attrs;

typedef struct miniinfer_layer_norm_attrs {
  miniinfer_head head;
  int32_t axis;
  uint32_t rms;
  double epsilon;
} miniinfer_layer_norm_attrs;

#ifdef __cplusplus
}
#endif

#endif
