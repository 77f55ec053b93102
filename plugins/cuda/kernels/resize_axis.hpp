#pragma once

// Where the outputs along one axis of resize/1 come from: output i is the sum over t of weight[t]
// times the input at index[t], for each of the axis's taps.

#include <cstdint>

#include "miniinfer/abi/op/resize.h"
#include "plugins/cuda/kernels/number.hpp"

namespace miniinfer::cuda {

struct ResizeRule {
  int mode;        // MINIINFER_RESIZE_*
  int coordinate;  // MINIINFER_COORD_*
  int nearest;     // MINIINFER_NEAREST_*
  bool antialias;
  bool exclude_outside;
  double cubic_coeff;
};

struct ResizeAxis {
  std::int64_t in;
  std::int64_t out;
  double scale;
  double roi_begin;
  double roi_end;
  double stretch;  // of the filter: less than 1 where shrinking widens it
  int start;       // of the first tap, from the input left of the place
  int taps;
};

inline ResizeAxis make_resize_axis(const miniinfer_resize_attrs& attrs, int axis, std::int64_t in,
                                   std::int64_t out) {
  const bool is_nearest = attrs.mode == MINIINFER_RESIZE_NEAREST;
  const double reach = attrs.mode == MINIINFER_RESIZE_CUBIC ? 2 : 1;
  const double scale = attrs.scale[axis];
  const double stretch = attrs.antialias != 0 && !is_nearest && scale < 1 ? scale : 1;
  const int start = static_cast<int>(std::floor(-reach / stretch)) + 1;
  return {in,
          out,
          scale,
          attrs.roi_begin[axis],
          attrs.roi_end[axis],
          stretch,
          start,
          is_nearest ? 1 : 2 - 2 * start};
}

// Whether every output is the input at its own position.
inline bool is_identity(const miniinfer_resize_attrs& attrs, const ResizeAxis& axis) {
  const bool whole = attrs.coordinate != MINIINFER_COORD_TF_CROP_AND_RESIZE ||
                     (axis.roi_begin == 0 && axis.roi_end == 1);
  return axis.in == axis.out && axis.scale == 1 && whole;
}

// A product that is rounded, whatever the compiler makes of sums: positions on the edge between two
// inputs must be found as the other backends find them.
MINIINFER_HD double rounded_product(double a, double b) {
#if defined(__CUDA_ARCH__)
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

// Where output position x lies on the input's axis, by the text of the standard.
MINIINFER_HD double resize_source(const ResizeRule& rule, const ResizeAxis& axis, double x) {
  const auto in = static_cast<double>(axis.in);
  const auto out = static_cast<double>(axis.out);
  const double wide = rounded_product(axis.scale, in);  // the output's size before it was rounded
  const double half_pixel = (x + 0.5) / axis.scale - 0.5;
  switch (rule.coordinate) {
    case MINIINFER_COORD_ALIGN_CORNERS:
      return wide == 1 || out == 1 ? 0 : rounded_product(x, in - 1) / (wide - 1);
    case MINIINFER_COORD_ASYMMETRIC:
      return x / axis.scale;
    case MINIINFER_COORD_TF_CROP_AND_RESIZE: {
      const double extent = axis.roi_end - axis.roi_begin;
      const double at = wide == 1 || out == 1
                            ? rounded_product(extent, in - 1) / 2
                            : rounded_product(rounded_product(x, extent), in - 1) / (wide - 1);
      return at + rounded_product(axis.roi_begin, in - 1);
    }
    case MINIINFER_COORD_PYTORCH_HALF_PIXEL:
      return out == 1 ? 0 : half_pixel;
    case MINIINFER_COORD_HALF_PIXEL_SYMMETRIC:
      return rounded_product(in / 2, 1 - out / wide) + (x + 0.5) / axis.scale - 0.5;
    default:
      return half_pixel;
  }
}

MINIINFER_HD double resize_cubic(double x, double a) {
  x = x < 0 ? -x : x;
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

// Whether the right neighbour is the nearest, of a place `ratio` in (0, 1] beyond its left one.
MINIINFER_HD bool resize_takes_right(int nearest, double ratio) {
  switch (nearest) {
    case MINIINFER_NEAREST_ROUND_PREFER_CEIL:
      return ratio >= 0.5;
    case MINIINFER_NEAREST_FLOOR:
      return ratio == 1;
    case MINIINFER_NEAREST_CEIL:
      return true;
    default:
      return ratio > 0.5;
  }
}

// The taps of output position i. An index of -1 says that it lies outside and gets the
// extrapolation value.
template <class C>
MINIINFER_HD void resize_taps(const ResizeRule& rule, const ResizeAxis& axis, std::int64_t i,
                              std::int32_t* index, C* weight) {
  const double at = resize_source(rule, axis, static_cast<double>(i));
  double floor_at = std::floor(at);
  double ratio = at - floor_at;
  if (ratio == 0) {  // a whole position is its own right neighbour
    floor_at -= 1;
    ratio = 1;
  }
  const auto left = static_cast<std::int64_t>(floor_at);
  const auto clamped = [&](std::int64_t p) {
    return static_cast<std::int32_t>(p < 0 ? 0 : p >= axis.in ? axis.in - 1 : p);
  };
  if (rule.mode == MINIINFER_RESIZE_NEAREST) {
    index[0] = clamped(left + (resize_takes_right(rule.nearest, ratio) ? 1 : 0));
    weight[0] = 1;
  } else {
    const auto tap = [&](int t) {
      const std::int64_t from = left + axis.start + t;
      if (rule.exclude_outside && (from < 0 || from >= axis.in)) return 0.0;
      const double x = (static_cast<double>(axis.start + t) - ratio) * axis.stretch;
      if (rule.mode == MINIINFER_RESIZE_CUBIC) return resize_cubic(x, rule.cubic_coeff);
      const double triangle = 1 - (x < 0 ? -x : x);
      return triangle < 0 ? 0.0 : triangle;
    };
    double sum = 1;
    if (rule.exclude_outside || rule.antialias) {
      sum = 0;
      for (int t = 0; t < axis.taps; ++t) sum += tap(t);
      if (sum == 0) sum = 1;
    }
    for (int t = 0; t < axis.taps; ++t) {
      index[t] = clamped(left + axis.start + t);
      weight[t] = static_cast<C>(tap(t) / sum);
    }
  }
  if (rule.coordinate == MINIINFER_COORD_TF_CROP_AND_RESIZE &&
      (at < 0 || at > static_cast<double>(axis.in) - 1)) {
    index[0] = -1;
  }
}

}  // namespace miniinfer::cuda
