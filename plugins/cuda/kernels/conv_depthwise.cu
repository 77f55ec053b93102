// Depthwise convolutions of row-major planes with square windows: a thread computes four neighbours
// of a row of y, from a row of x held in registers for each row of the window. Bound by the bytes
// of x and y: rows of x that several rows of y read come from L1.

#include "plugins/cuda/kernels/conv_depthwise.cuh"
#include "plugins/cuda/kernels/launch.cuh"
#include "plugins/cuda/kernels/numeric.cuh"

namespace miniinfer::cuda {
namespace {

template <class S, int kWindow, int kStride>
__global__ void __launch_bounds__(kThreads) depthwise(Depthwise s, std::int64_t count) {
  using C = typename Number<S>::Compute;
  constexpr int kSpan = (kOutputs - 1) * kStride + kWindow;
  const C low = static_cast<C>(s.low), high = static_cast<C>(s.high);
  for (std::int64_t i = first_item(); i < count; i += item_step()) {
    const int ox = static_cast<int>(i % s.groups_w) * kOutputs;
    const std::int64_t row = i / s.groups_w;
    const int oy = static_cast<int>(row % s.out_h);
    const std::int64_t plane = row / s.out_h;
    const int channel = static_cast<int>(plane % s.channels);
    const std::int64_t x0 = plane * s.in_h * s.in_w;
    const int first = ox * kStride - s.pad_w;
    C sum[kOutputs] = {};
    for (int ky = 0; ky < kWindow; ++ky) {
      const int iy = oy * kStride - s.pad_h + ky;
      if (iy < 0 || iy >= s.in_h) continue;
      C span[kSpan];
      for (int k = 0; k < kSpan; ++k) {
        const int ix = first + k;
        const bool inside = ix >= 0 && ix < s.in_w;
        span[k] = inside ? load<S>(s.x, x0 + static_cast<std::int64_t>(iy) * s.in_w + ix) : C(0);
      }
      for (int kx = 0; kx < kWindow; ++kx) {
        const C weight =
            load<S>(s.w, (static_cast<std::int64_t>(channel) * kWindow + ky) * kWindow + kx);
        for (int k = 0; k < kOutputs; ++k) sum[k] += span[k * kStride + kx] * weight;
      }
    }
    const C bias = s.bias != nullptr ? load<S>(s.bias, channel) : C(0);
    const std::int64_t at = (plane * s.out_h + oy) * s.out_w + ox;
    for (int k = 0; k < kOutputs && ox + k < s.out_w; ++k) {
      C value = sum[k] + bias;
      if (s.residual != nullptr) value += load<S>(s.residual, at + k);
      value = value < low ? low : value;  // NaN passes
      store<S>(s.y, at + k, value > high ? high : value);
    }
  }
}

template <class S, int kWindow>
cudaError_t run_depthwise(const Depthwise& s, std::int64_t count, std::int64_t stride,
                          cudaStream_t stream) {
  const dim3 grid(grid_for(count)), block(kThreads);
  return stride == 1 ? launch(depthwise<S, kWindow, 1>, grid, block, 0, stream, s, count)
                     : launch(depthwise<S, kWindow, 2>, grid, block, 0, stream, s, count);
}

}  // namespace

cudaError_t launch_conv_depthwise(const ConvArgs& args, cudaStream_t stream) {
  const Depthwise s = depthwise_of(args);
  const std::int64_t count = args.batch * args.group * s.out_h * s.groups_w;
  if (count == 0) return cudaSuccess;
  return with_float(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Storage;
    return args.window[1] == 3 ? run_depthwise<S, 3>(s, count, args.stride[1], stream)
                               : run_depthwise<S, 5>(s, count, args.stride[1], stream);
  });
}

}  // namespace miniinfer::cuda
