#include "core/cpu/resize_axis.hpp"

#include <algorithm>
#include <cmath>

namespace miniinfer::cpu {
namespace {

// Where output position x lies on the input's axis, by the text of the standard. (ONNX's reference
// code puts a single output of PYTORCH_HALF_PIXEL at -0.5.)
double source(const miniinfer_resize_attrs& attrs, int axis, double in, double out, double x) {
  const double scale = attrs.scale[axis];
  const double wide = scale * in;  // the output's size before it was rounded
  const double half_pixel = (x + 0.5) / scale - 0.5;
  switch (attrs.coordinate) {
    case MINIINFER_COORD_ALIGN_CORNERS:
      return wide == 1 || out == 1 ? 0 : x * (in - 1) / (wide - 1);
    case MINIINFER_COORD_ASYMMETRIC:
      return x / scale;
    case MINIINFER_COORD_TF_CROP_AND_RESIZE: {
      const double begin = attrs.roi_begin[axis], end = attrs.roi_end[axis];
      const double at = wide == 1 || out == 1 ? (end - begin) * (in - 1) / 2
                                              : x * (end - begin) * (in - 1) / (wide - 1);
      return at + begin * (in - 1);
    }
    case MINIINFER_COORD_PYTORCH_HALF_PIXEL:
      return out == 1 ? 0 : half_pixel;
    case MINIINFER_COORD_HALF_PIXEL_SYMMETRIC:
      return in / 2 * (1 - out / wide) + (x + 0.5) / scale - 0.5;
    default:
      return half_pixel;
  }
}

double cubic(double x, double a) {
  x = std::abs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

double nearest(int how, double ratio) {  // 1: the right neighbour
  switch (how) {
    case MINIINFER_NEAREST_ROUND_PREFER_CEIL:
      return ratio >= 0.5;
    case MINIINFER_NEAREST_FLOOR:
      return ratio == 1;  // a whole position is its own right neighbour
    case MINIINFER_NEAREST_CEIL:
      return 1;
    default:
      return ratio > 0.5;
  }
}

}  // namespace

ResizeAxis make_resize_axis(const miniinfer_resize_attrs& attrs, int axis, std::int64_t in,
                            std::int64_t out) {
  ResizeAxis result;
  result.in = in;
  result.out = out;
  const bool is_nearest = attrs.mode == MINIINFER_RESIZE_NEAREST;
  const double reach = attrs.mode == MINIINFER_RESIZE_CUBIC ? 2 : 1;
  // Shrinking with antialias widens the filter by the factor it shrinks.
  const double stretch =
      attrs.antialias != 0 && !is_nearest ? std::min(attrs.scale[axis], 1.0) : 1.0;
  const auto start = static_cast<std::int64_t>(std::floor(-reach / stretch)) + 1;
  const std::int64_t footprint = 2 - 2 * start;
  result.taps = is_nearest ? 1 : footprint;
  const auto size = static_cast<std::size_t>(out * result.taps);
  result.index.resize(size);
  result.weight.resize(size);
  result.outside.resize(static_cast<std::size_t>(out));
  result.is_identity = in == out;
  const double last = static_cast<double>(in) - 1;
  for (std::int64_t i = 0; i < out; ++i) {
    const double at = source(attrs, axis, static_cast<double>(in), static_cast<double>(out),
                             static_cast<double>(i));
    auto left = static_cast<std::int64_t>(std::floor(at));
    double ratio = at - static_cast<double>(left);
    if (ratio == 0) {  // in (0, 1]: a whole position is its own right neighbour
      --left;
      ratio = 1;
    }
    if (attrs.coordinate == MINIINFER_COORD_TF_CROP_AND_RESIZE && (at < 0 || at > last)) {
      result.outside[static_cast<std::size_t>(i)] = 1;
      result.is_identity = false;
    }
    std::int32_t* index = result.index.data() + i * result.taps;
    double* weight = result.weight.data() + i * result.taps;
    const auto clamp = [&](std::int64_t p) {
      return static_cast<std::int32_t>(std::clamp<std::int64_t>(p, 0, in - 1));
    };
    if (is_nearest) {
      index[0] = clamp(left + static_cast<std::int64_t>(nearest(attrs.nearest, ratio)));
      weight[0] = 1;
      result.is_identity &= index[0] == i;
      continue;
    }
    double sum = 0;
    for (std::int64_t t = 0; t < footprint; ++t) {
      const std::int64_t from = left + start + t;
      const double x = (static_cast<double>(start + t) - ratio) * stretch;
      weight[t] = attrs.mode == MINIINFER_RESIZE_CUBIC ? cubic(x, attrs.cubic_coeff)
                                                       : std::max(0.0, 1 - std::abs(x));
      if (attrs.exclude_outside != 0 && (from < 0 || from >= in)) weight[t] = 0;
      index[t] = clamp(from);
      sum += weight[t];
    }
    if ((attrs.exclude_outside != 0 || attrs.antialias != 0) && sum != 0) {
      for (std::int64_t t = 0; t < footprint; ++t) weight[t] /= sum;
    }
    for (std::int64_t t = 0; t < footprint; ++t) {
      result.is_identity &= weight[t] == (index[t] == i ? 1.0 : 0.0) || weight[t] == 0;
    }
  }
  return result;
}

}  // namespace miniinfer::cpu
