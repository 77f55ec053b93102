// Convolutions that no library call serves. A thread sums one element of y; neighbours along y's
// innermost axis share their weights and read neighbouring x. Bound by the loads from L1 of one x
// for each multiplication.

#include "plugins/cuda/kernels/conv_launch.hpp"
#include "plugins/cuda/kernels/launch.cuh"
#include "plugins/cuda/kernels/numeric.cuh"

namespace miniinfer::cuda {
namespace {

// Where tap `t` of an axis reads x for output `o`; -1 where it reads padding.
__device__ inline std::int64_t tap_position(const ConvArgs& s, int axis, std::int64_t o,
                                            std::int64_t t) {
  std::int64_t at = t * s.dilation[axis];
  if (!s.transpose) {
    at += o * s.stride[axis] - s.pad_begin[axis];
  } else {
    at = o + s.pad_begin[axis] - at;
    if (at < 0 || at % s.stride[axis] != 0) return -1;
    at /= s.stride[axis];
  }
  return at >= 0 && at < s.in[axis] ? at : -1;
}

template <class S>
__global__ void __launch_bounds__(kThreads) conv_direct(ConvArgs s, std::int64_t count) {
  using C = typename Number<S>::Compute;
  const bool channels_last = s.y_strides[1] == 1;
  const std::int64_t channels = s.group * s.out_channels;
  for (std::int64_t i = first_item(); i < count; i += item_step()) {
    std::int64_t rest = i, channel = 0, o[3];
    if (channels_last) {
      channel = rest % channels;
      rest /= channels;
    }
    for (int axis = 2; axis >= 0; --axis) {
      o[axis] = rest % s.out[axis];
      rest /= s.out[axis];
    }
    if (!channels_last) {
      channel = rest % channels;
      rest /= channels;
    }
    const std::int64_t n = rest, group = channel / s.out_channels;
    const std::int64_t first = group * s.in_channels;  // channel of x
    const std::int64_t x0 = n * s.x_strides[0] + first * s.x_strides[1];
    // Of w: [out, in, ..], transposed [in, out, ..].
    const std::int64_t w0 = s.transpose
                                ? first * s.w_strides[0] + channel % s.out_channels * s.w_strides[1]
                                : channel * s.w_strides[0];
    const std::int64_t w_step = s.transpose ? s.w_strides[0] : s.w_strides[1];
    C sum = 0;
    for (std::int64_t td = 0; td < s.window[0]; ++td) {
      const std::int64_t d = tap_position(s, 0, o[0], td);
      if (d < 0) continue;
      for (std::int64_t th = 0; th < s.window[1]; ++th) {
        const std::int64_t h = tap_position(s, 1, o[1], th);
        if (h < 0) continue;
        for (std::int64_t tw = 0; tw < s.window[2]; ++tw) {
          const std::int64_t w = tap_position(s, 2, o[2], tw);
          if (w < 0) continue;
          std::int64_t at_x = x0 + d * s.x_strides[2] + h * s.x_strides[3] + w * s.x_strides[4];
          std::int64_t at_w = w0 + td * s.w_strides[2] + th * s.w_strides[3] + tw * s.w_strides[4];
          for (std::int64_t c = 0; c < s.in_channels; ++c) {
            sum += load<S>(s.x, at_x) * load<S>(s.w, at_w);
            at_x += s.x_strides[1];
            at_w += w_step;
          }
        }
      }
    }
    const std::int64_t at = n * s.y_strides[0] + channel * s.y_strides[1] + o[0] * s.y_strides[2] +
                            o[1] * s.y_strides[3] + o[2] * s.y_strides[4];
    if (s.bias != nullptr) sum += load<S>(s.bias, channel);
    if (s.residual != nullptr) sum += load<S>(s.residual, at);
    const C low = static_cast<C>(s.low), high = static_cast<C>(s.high);
    sum = sum < low ? low : sum;  // NaN passes
    store<S>(s.y, at, sum > high ? high : sum);
  }
}

}  // namespace

cudaError_t launch_conv_direct(const ConvArgs& args, cudaStream_t stream) {
  const std::int64_t count =
      args.batch * args.group * args.out_channels * args.out[0] * args.out[1] * args.out[2];
  if (count == 0) return cudaSuccess;
  return with_float(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Storage;
    return launch(conv_direct<S>, dim3(grid_for(count)), dim3(kThreads), 0, stream, args, count);
  });
}

}  // namespace miniinfer::cuda
