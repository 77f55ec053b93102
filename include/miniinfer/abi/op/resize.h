#ifndef MINIINFER_ABI_OP_RESIZE_H
#define MINIINFER_ABI_OP_RESIZE_H

// resize/1: resamples a tensor. ONNX Resize (opset 19) with everything that depends on shapes
// already worked out: output dims are the region's, scales are given for each axis.

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_RESIZE "resize/1"

enum { MINIINFER_RESIZE_NEAREST = 0, MINIINFER_RESIZE_LINEAR = 1, MINIINFER_RESIZE_CUBIC = 2 };

// How an output position maps to the input's axis.
enum {
  MINIINFER_COORD_HALF_PIXEL = 0,
  MINIINFER_COORD_HALF_PIXEL_SYMMETRIC = 1,
  MINIINFER_COORD_PYTORCH_HALF_PIXEL = 2,
  MINIINFER_COORD_ALIGN_CORNERS = 3,
  MINIINFER_COORD_ASYMMETRIC = 4,
  MINIINFER_COORD_TF_CROP_AND_RESIZE = 5
};

enum {
  MINIINFER_NEAREST_ROUND_PREFER_FLOOR = 0,
  MINIINFER_NEAREST_ROUND_PREFER_CEIL = 1,
  MINIINFER_NEAREST_FLOOR = 2,
  MINIINFER_NEAREST_CEIL = 3
};

typedef struct miniinfer_resize_attrs {
  miniinfer_head head;
  int32_t mode;        // MINIINFER_RESIZE_*
  int32_t coordinate;  // MINIINFER_COORD_*
  int32_t nearest;     // MINIINFER_NEAREST_*
  uint32_t antialias;
  uint32_t exclude_outside;
  uint32_t reserved;
  double cubic_coeff;
  double extrapolation;                  // the value outside the input, TF_CROP_AND_RESIZE only
  double scale[MINIINFER_MAX_RANK];      // output size / input size, as the model gave it
  double roi_begin[MINIINFER_MAX_RANK];  // normalised, TF_CROP_AND_RESIZE only
  double roi_end[MINIINFER_MAX_RANK];
} miniinfer_resize_attrs;

#ifdef __cplusplus
}
#endif

#endif
