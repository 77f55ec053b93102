#ifndef MINIINFER_ABI_OP_COPY_H
#define MINIINFER_ABI_OP_COPY_H

// copy/1: moves elements from strided places to strided places.
//
// Reshape, transpose, slice, concat, split, pad, expand, tile, and the windows from which pooling
// and convolution can be made are all lists of such regions. The node has any number of inputs and
// one output. If `fill` is set every output element that no region writes becomes `fill_bits`;
// otherwise the regions cover the output. Regions may read the same elements and never write the
// same element twice. Element types of inputs and output are equal; only their size matters.

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_COPY "copy/1"

typedef struct miniinfer_copy_region {
  miniinfer_head head;
  uint32_t input;      // which input it reads
  int32_t rank;        // at most MINIINFER_MAX_RANK; 0: one element
  int64_t src_offset;  // in elements
  int64_t dst_offset;
  int64_t dims[MINIINFER_MAX_RANK];
  int64_t src_strides[MINIINFER_MAX_RANK];  // in elements; may be 0 or negative
  int64_t dst_strides[MINIINFER_MAX_RANK];
} miniinfer_copy_region;

typedef struct miniinfer_copy_attrs {
  miniinfer_head head;
  uint32_t region_count;
  uint32_t fill;       // 1: fill first
  uint64_t fill_bits;  // one element's bits in the low bytes
  const miniinfer_copy_region* const* regions;
} miniinfer_copy_attrs;

#ifdef __cplusplus
}
#endif

#endif
