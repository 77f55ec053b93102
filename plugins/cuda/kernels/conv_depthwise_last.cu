// Depthwise convolutions of channels-last values with square windows: a thread computes four
// neighbours of a row of y for a vector of channels, each row of the window with its weights in
// registers. Bound by the bytes of x and y: what several outputs read comes from L1.

#include "plugins/cuda/kernels/conv_depthwise.cuh"
#include "plugins/cuda/kernels/launch.cuh"
#include "plugins/cuda/kernels/numeric.cuh"

namespace miniinfer::cuda {
namespace {

template <class S, int kWidth>
struct alignas(sizeof(S) * kWidth) Channels {
  S at[kWidth];
};

template <class S, int kWidth, class C>
__device__ inline void load_channels(const void* base, std::int64_t at, C (&to)[kWidth]) {
  const auto pack = *reinterpret_cast<const Channels<S, kWidth>*>(static_cast<const S*>(base) + at);
  MINIINFER_UNROLL()
  for (int k = 0; k < kWidth; ++k) to[k] = Number<S>::load(pack.at[k]);
}

template <class S, int kWindow, int kStride, int kWidth>
__global__ void __launch_bounds__(kThreads) depthwise_last(Depthwise s, std::int64_t count) {
  using C = typename Number<S>::Compute;
  constexpr int kSpan = (kOutputs - 1) * kStride + kWindow;
  const C low = static_cast<C>(s.low), high = static_cast<C>(s.high);
  const int packs = s.channels / kWidth;
  for (std::int64_t i = first_item(); i < count; i += item_step()) {
    const int channel = static_cast<int>(i % packs) * kWidth;
    const std::int64_t place = i / packs;
    const int ox = static_cast<int>(place % s.groups_w) * kOutputs;
    const std::int64_t row = place / s.groups_w;
    const int oy = static_cast<int>(row % s.out_h);
    const std::int64_t n = row / s.out_h;
    const int first = ox * kStride - s.pad_w;
    C sum[kOutputs][kWidth] = {};
    for (int ky = 0; ky < kWindow; ++ky) {
      const int iy = oy * kStride - s.pad_h + ky;
      if (iy < 0 || iy >= s.in_h) continue;
      C weight[kWindow][kWidth];
      MINIINFER_UNROLL()
      for (int kx = 0; kx < kWindow; ++kx) {
        const std::int64_t at = (ky * kWindow + kx) * s.w_tap + channel * s.w_channel;
        if (s.w_channel == 1) {
          load_channels<S>(s.w, at, weight[kx]);
        } else {
          for (int k = 0; k < kWidth; ++k) weight[kx][k] = load<S>(s.w, at + k * s.w_channel);
        }
      }
      const std::int64_t line = (n * s.in_h + iy) * s.in_w;
      MINIINFER_UNROLL()
      for (int column = 0; column < kSpan; ++column) {
        const int ix = first + column;
        if (ix < 0 || ix >= s.in_w) continue;
        C x[kWidth];
        load_channels<S>(s.x, (line + ix) * s.channels + channel, x);
        MINIINFER_UNROLL()
        for (int o = 0; o < kOutputs; ++o) {
          const int kx = column - o * kStride;
          if (kx < 0 || kx >= kWindow) continue;
          MINIINFER_UNROLL()
          for (int k = 0; k < kWidth; ++k) sum[o][k] += x[k] * weight[kx][k];
        }
      }
    }
    C bias[kWidth] = {};
    if (s.bias != nullptr) load_channels<S>(s.bias, channel, bias);
    const std::int64_t at = ((n * s.out_h + oy) * s.out_w + ox) * s.channels + channel;
    MINIINFER_UNROLL()
    for (int o = 0; o < kOutputs; ++o) {
      if (ox + o >= s.out_w) continue;
      const std::int64_t here = at + static_cast<std::int64_t>(o) * s.channels;
      C residual[kWidth] = {};
      if (s.residual != nullptr) load_channels<S>(s.residual, here, residual);
      Channels<S, kWidth> pack;
      MINIINFER_UNROLL()
      for (int k = 0; k < kWidth; ++k) {
        C value = sum[o][k] + bias[k] + residual[k];
        value = value < low ? low : value;  // NaN passes
        pack.at[k] = Number<S>::store(value > high ? high : value);
      }
      *reinterpret_cast<Channels<S, kWidth>*>(static_cast<S*>(s.y) + here) = pack;
    }
  }
}

template <class S, int kWindow, int kWidth>
cudaError_t run_depthwise_last(const Depthwise& s, std::int64_t places, std::int64_t stride,
                               cudaStream_t stream) {
  const std::int64_t count = places * (s.channels / kWidth);
  const dim3 grid(grid_for(count)), block(kThreads);
  return stride == 1
             ? launch(depthwise_last<S, kWindow, 1, kWidth>, grid, block, 0, stream, s, count)
             : launch(depthwise_last<S, kWindow, 2, kWidth>, grid, block, 0, stream, s, count);
}

}  // namespace

cudaError_t launch_conv_depthwise_last(const ConvArgs& args, cudaStream_t stream) {
  const Depthwise s = depthwise_of(args);
  const std::int64_t places = args.batch * s.out_h * s.groups_w;
  if (places == 0 || s.channels == 0) return cudaSuccess;
  return with_float(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Storage;
    constexpr int kWidth = static_cast<int>(16 / sizeof(S));
    std::uintptr_t bits = 0;
    for (const void* pointer : {s.x, s.w, s.bias, s.residual, static_cast<const void*>(s.y)}) {
      bits |= reinterpret_cast<std::uintptr_t>(pointer);
    }
    const bool wide = bits % 16 == 0 && s.channels % kWidth == 0;
    if (args.window[1] == 3) {
      return wide ? run_depthwise_last<S, 3, kWidth>(s, places, args.stride[1], stream)
                  : run_depthwise_last<S, 3, 1>(s, places, args.stride[1], stream);
    }
    return wide ? run_depthwise_last<S, 5, kWidth>(s, places, args.stride[1], stream)
                : run_depthwise_last<S, 5, 1>(s, places, args.stride[1], stream);
  });
}

}  // namespace miniinfer::cuda
