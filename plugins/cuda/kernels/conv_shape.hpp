#pragma once

// A convolution or its transpose, as the libraries and our kernels want it. Host code.

#include <cstdint>

#include "miniinfer/abi/op/conv.h"
#include "miniinfer/sdk/region.hpp"
#include "plugins/cuda/kernels/conv_launch.hpp"
#include "plugins/cuda/kernels/rows.hpp"

namespace miniinfer::cuda {

inline bool has_bias(const sdk::Region& region) { return has_in(region, 2); }

// What follows from the operands' shapes; pointers, bias and clip are left out. Missing spatial
// axes come first, with size 1.
inline ConvArgs conv_shape(const sdk::Region& region, bool transpose) {
  const auto attrs = region.attrs<miniinfer_conv_attrs>();
  const miniinfer_value& x = region.in(0);
  const miniinfer_value& w = region.in(1);
  const miniinfer_value& y = region.out(0);
  ConvArgs s{};
  s.transpose = transpose;
  s.dtype = y.dtype;
  s.batch = x.dims[0];
  s.group = attrs.group;
  s.in_channels = x.dims[1] / attrs.group;
  s.out_channels = y.dims[1] / attrs.group;
  const int first = MINIINFER_MAX_SPATIAL - attrs.spatial_rank;
  for (int axis = 0; axis < MINIINFER_MAX_SPATIAL; ++axis) {
    const int i = axis - first;
    const bool has = i >= 0;
    s.in[axis] = has ? x.dims[2 + i] : 1;
    s.out[axis] = has ? y.dims[2 + i] : 1;
    s.window[axis] = has ? w.dims[2 + i] : 1;
    s.stride[axis] = has ? attrs.stride[i] : 1;
    s.dilation[axis] = has ? attrs.dilation[i] : 1;
    s.pad_begin[axis] = has ? attrs.pad_begin[i] : 0;
    s.pad_end[axis] = has ? attrs.pad_end[i] : 0;
    s.x_strides[2 + axis] = has ? x.strides[2 + i] : 0;
    s.w_strides[2 + axis] = has ? w.strides[2 + i] : 0;
    s.y_strides[2 + axis] = has ? y.strides[2 + i] : 0;
  }
  for (int axis = 0; axis < 2; ++axis) {
    s.x_strides[axis] = x.strides[axis];
    s.w_strides[axis] = w.strides[axis];
    s.y_strides[axis] = y.strides[axis];
  }
  return s;
}

// The dims of the operands, [n, c, d, h, w].
struct ConvDims {
  std::int64_t x[5], w[5], y[5];
};

inline ConvDims conv_dims(const ConvArgs& s) {
  const std::int64_t in = s.group * s.in_channels, out = s.group * s.out_channels;
  const std::int64_t rows = s.transpose ? in : out;
  const std::int64_t columns = s.transpose ? s.out_channels : s.in_channels;
  return {{s.batch, in, s.in[0], s.in[1], s.in[2]},
          {rows, columns, s.window[0], s.window[1], s.window[2]},
          {s.batch, out, s.out[0], s.out[1], s.out[2]}};
}

// How the elements of [n, c, spatial..] lie; neither where there are gaps or other orders.
enum class ConvLayout : std::uint8_t { kNeither, kRowMajor, kChannelsLast };

inline void pack_strides(const std::int64_t (&dims)[5], ConvLayout layout,
                         std::int64_t (&strides)[5]) {
  std::int64_t step = 1;
  if (layout == ConvLayout::kChannelsLast) {
    strides[1] = 1;
    step = dims[1];
  }
  for (int axis = 4; axis >= 2; --axis) {
    strides[axis] = step;
    step *= dims[axis];
  }
  if (layout != ConvLayout::kChannelsLast) {
    strides[1] = step;
    step *= dims[1];
  }
  strides[0] = step;
}

inline bool has_layout(const std::int64_t (&dims)[5], const std::int64_t (&strides)[5],
                       ConvLayout layout) {
  std::int64_t packed[5];
  pack_strides(dims, layout, packed);
  for (int axis = 0; axis < 5; ++axis) {
    if (dims[axis] != 1 && strides[axis] != packed[axis]) return false;
  }
  return true;
}

inline ConvLayout conv_layout(const std::int64_t (&dims)[5], const std::int64_t (&strides)[5]) {
  for (const ConvLayout layout : {ConvLayout::kRowMajor, ConvLayout::kChannelsLast}) {
    if (has_layout(dims, strides, layout)) return layout;
  }
  return ConvLayout::kNeither;
}

// x and y both channels-last, and not row-major as well.
inline bool is_channels_last(const ConvArgs& s) {
  const ConvDims dims = conv_dims(s);
  return conv_layout(dims.y, s.y_strides) == ConvLayout::kChannelsLast
             ? has_layout(dims.x, s.x_strides, ConvLayout::kChannelsLast)
             : conv_layout(dims.x, s.x_strides) == ConvLayout::kChannelsLast &&
                   has_layout(dims.y, s.y_strides, ConvLayout::kChannelsLast);
}

inline bool conv_depthwise_serves(const ConvArgs& s) {
  const ConvDims dims = conv_dims(s);
  const auto same = [](const std::int64_t(&values)[3]) { return values[1] == values[2]; };
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  return !s.transpose && s.in_channels == 1 && s.out_channels == 1 && s.in[0] == 1 &&
         s.out[0] == 1 && s.window[0] == 1 && s.pad_begin[0] == 0 && same(s.window) &&
         same(s.stride) && (s.window[1] == 3 || s.window[1] == 5) &&
         (s.stride[1] == 1 || s.stride[1] == 2) && s.dilation[1] == 1 && s.dilation[2] == 1 &&
         s.in[1] < kMost && s.in[2] < kMost && s.out[1] < kMost && s.out[2] < kMost &&
         s.group < kMost && s.pad_begin[1] < kMost && s.pad_begin[2] < kMost &&
         has_layout(dims.w, s.w_strides, ConvLayout::kRowMajor) &&
         (is_channels_last(s) || (has_layout(dims.x, s.x_strides, ConvLayout::kRowMajor) &&
                                  has_layout(dims.y, s.y_strides, ConvLayout::kRowMajor)));
}

inline double conv_flops(const ConvArgs& s) {
  double flops = 2.0 * static_cast<double>(s.batch * s.group * s.in_channels) *
                 static_cast<double>(s.out_channels);
  for (int axis = 0; axis < MINIINFER_MAX_SPATIAL; ++axis) {
    flops *= static_cast<double>(s.window[axis] * (s.transpose ? s.in[axis] : s.out[axis]));
  }
  return flops;
}

}  // namespace miniinfer::cuda
