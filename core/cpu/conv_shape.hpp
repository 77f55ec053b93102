#pragma once

#include <array>
#include <cstdint>
#include <cstdio>

#include "core/cpu/kernel.hpp"
#include "core/cpu/rows.hpp"
#include "miniinfer/abi/op/conv.h"

namespace miniinfer::cpu {

// A convolution, or its transpose, over three spatial axes; missing ones come first, with size 1.
struct ConvShape {
  using Axes = std::array<std::int64_t, MINIINFER_MAX_SPATIAL>;

  // `transpose`: the weights are [C, M/group, ..] and not [M, C/group, ..].
  ConvShape(const RegionView& region, bool transpose) {
    const auto& attrs = region.attrs<miniinfer_conv_attrs>();
    const miniinfer_value& x = region.in(0);
    const miniinfer_value& y = region.out(0);
    batch = x.dims[0];
    group = attrs.group;
    in_channels = x.dims[1] / group;
    out_channels = y.dims[1] / group;
    window.fill(1);
    in.fill(1);
    out.fill(1);
    stride.fill(1);
    dilation.fill(1);
    pad.fill(0);
    const int first = MINIINFER_MAX_SPATIAL - attrs.spatial_rank;
    for (int i = 0; i < attrs.spatial_rank; ++i) {
      window[first + i] = region.in(1).dims[2 + i];
      in[first + i] = x.dims[2 + i];
      out[first + i] = y.dims[2 + i];
      stride[first + i] = attrs.stride[i];
      dilation[first + i] = attrs.dilation[i];
      pad[first + i] = attrs.pad_begin[i];
    }
    taps = window[0] * window[1] * window[2];
    in_plane = in[0] * in[1] * in[2];
    out_plane = out[0] * out[1] * out[2];
    is_transposed = transpose;
  }

  Axes tap(std::int64_t t) const {
    return {t / (window[1] * window[2]), t / window[2] % window[1], t % window[2]};
  }
  double flops() const {
    return 2.0 * static_cast<double>(batch * group * in_channels) *
           static_cast<double>(out_channels * taps) *
           static_cast<double>(is_transposed ? in_plane : out_plane);
  }

  std::int64_t batch, group;
  std::int64_t in_channels, out_channels;  // of one group
  Axes window, in, out, stride, dilation, pad;
  std::int64_t taps, in_plane, out_plane;
  bool is_transposed;
};

inline bool has_bias(const RegionView& region) {
  return region.node().in_count > 2 && !is_absent(region.in(2));
}

// What both kinds ask of a region; false with a reason.
inline bool conv_is_served(const RegionView& region, bool transpose, miniinfer_choice& choice) {
  const auto& attrs = region.attrs<miniinfer_conv_attrs>();
  const miniinfer_value& x = region.in(0);
  const miniinfer_value& w = region.in(1);
  const miniinfer_value& y = region.out(0);
  bool ok = is_real_float(x.dtype) && x.dtype == w.dtype && x.dtype == y.dtype && is_row_major(x) &&
            is_row_major(w) && is_row_major(y);
  ok = ok && attrs.spatial_rank >= 1 && attrs.spatial_rank <= MINIINFER_MAX_SPATIAL &&
       x.rank == attrs.spatial_rank + 2 && w.rank == x.rank && y.rank == x.rank;
  ok = ok && attrs.group > 0 && x.dims[1] % attrs.group == 0 && y.dims[1] % attrs.group == 0;
  if (!ok) {
    std::snprintf(
        choice.reason, sizeof choice.reason,
        "conv: element types %d, %d, %d, ranks %d, %d, %d with %d spatial axes, group %d: "
        "one float type, 1 to 3 spatial axes and row-major operands are served",
        x.dtype, w.dtype, y.dtype, x.rank, w.rank, y.rank, attrs.spatial_rank, attrs.group);
    return false;
  }
  const ConvShape shape(region, transpose);
  constexpr std::int64_t kLimit = std::int64_t{1} << 30;
  if (shape.in_plane >= kLimit || shape.out_plane >= kLimit) {
    std::snprintf(choice.reason, sizeof choice.reason,
                  "conv: a plane of %lld elements: less than 2^30 are served",
                  static_cast<long long>(std::max(shape.in_plane, shape.out_plane)));
    return false;
  }
  return true;
}

// Types without a fast path: one output at a time, by the definition.
std::unique_ptr<Kernel> make_conv_plain(const RegionView& region, bool transpose);

}  // namespace miniinfer::cpu
