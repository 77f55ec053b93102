#ifndef MINIINFER_ABI_OP_CONV_H
#define MINIINFER_ABI_OP_CONV_H

// conv/1: convolution (cross-correlation). Inputs x [N, C, spatial..], w [M, C/group, window..],
// optional bias [M]; output [N, M, spatial..]. Padding is zeros and may differ at both ends.
//
// conv_transpose/1: its transpose. Inputs x [N, C, spatial..], w [C, M/group, window..], optional
// bias [M]; each x element adds its w window at position i*stride - pad_begin of the output, and
// what falls outside the output is dropped.
//
// One to three spatial axes. The window's size is w's; the output's dims are given by the region.

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_CONV "conv/1"
#define MINIINFER_CONV_TRANSPOSE "conv_transpose/1"
#define MINIINFER_MAX_SPATIAL 3

typedef struct miniinfer_conv_attrs {
  miniinfer_head head;
  int32_t spatial_rank;
  int32_t group;
  int64_t stride[MINIINFER_MAX_SPATIAL];
  int64_t dilation[MINIINFER_MAX_SPATIAL];
  int64_t pad_begin[MINIINFER_MAX_SPATIAL];
  int64_t pad_end[MINIINFER_MAX_SPATIAL];
} miniinfer_conv_attrs;

#ifdef __cplusplus
}
#endif

#endif
