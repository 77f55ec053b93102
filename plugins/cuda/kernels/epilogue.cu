// The end of a product or convolution whose library call could not do it. Bound by the bytes of the
// output, read and written once, and of the residual.

#include <cmath>
#include <limits>

#include "plugins/cuda/kernels/epilogue_launch.hpp"
#include "plugins/cuda/kernels/launch.cuh"
#include "plugins/cuda/kernels/numeric.cuh"

namespace miniinfer::cuda {
namespace {

template <class S, int kWidth>
struct alignas(sizeof(S) * kWidth) Pack {
  S at[kWidth];
};

template <class C>
__device__ C activate(C x, C low, C high, bool gelu) {
  if (gelu) {
    const C root = C(0.79788456080286535588);  // sqrt(2 / pi)
    return C(0.5) * x * (C(1) + ::tanh(root * (x + C(0.044715) * x * x * x)));
  }
  x = x < low ? low : x;  // NaN passes
  return x > high ? high : x;
}

// The channel may change inside a pack.
template <class S, int kWidth, class Index>
__global__ void __launch_bounds__(kThreads) finish(EpilogueArgs args, Index packs) {
  using C = typename Number<S>::Compute;
  using P = Pack<S, kWidth>;
  const Index inner = static_cast<Index>(args.inner), channels = static_cast<Index>(args.channels);
  for (std::int64_t item = first_item(); item < packs; item += item_step()) {
    const Index i = static_cast<Index>(item);
    P* out = static_cast<P*>(args.out) + i;
    P value = *out;
    C sum[kWidth];
    for (int k = 0; k < kWidth; ++k) sum[k] = Number<S>::load(value.at[k]);
    if (args.bias != nullptr) {
      const S* bias = static_cast<const S*>(args.bias);
      const Index row = i * kWidth / inner;
      Index left = inner - (i * kWidth - row * inner);  // elements of this channel
      Index channel = row % channels;
      C added = Number<S>::load(bias[channel]);
      for (int k = 0; k < kWidth; ++k) {
        if (left == 0) {
          left = inner;
          channel = channel + 1 == channels ? 0 : channel + 1;
          added = Number<S>::load(bias[channel]);
        }
        sum[k] += added;
        --left;
      }
    }
    if (args.residual != nullptr) {
      const P residual = static_cast<const P*>(args.residual)[i];
      for (int k = 0; k < kWidth; ++k) sum[k] += Number<S>::load(residual.at[k]);
    }
    for (int k = 0; k < kWidth; ++k) {
      value.at[k] = Number<S>::store(
          activate(sum[k], static_cast<C>(args.low), static_cast<C>(args.high), args.gelu));
    }
    *out = value;
  }
}

template <class S, int kWidth, class Index>
cudaError_t finish_all(const EpilogueArgs& args, cudaStream_t stream) {
  const std::int64_t packs = args.count / kWidth;
  return launch(finish<S, kWidth, Index>, dim3(grid_for(packs)), dim3(kThreads), 0, stream, args,
                static_cast<Index>(packs));
}

}  // namespace

cudaError_t launch_epilogue(const EpilogueArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  return with_float(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Storage;
    constexpr int kWidth = 16 / sizeof(S);
    const auto places = reinterpret_cast<std::uintptr_t>(args.out) |
                        reinterpret_cast<std::uintptr_t>(args.residual);
    const bool wide = places % 16 == 0 && args.count % kWidth == 0 &&
                      args.count <= std::numeric_limits<std::int32_t>::max();
    return wide ? finish_all<S, kWidth, std::uint32_t>(args, stream)
                : finish_all<S, 1, std::int64_t>(args, stream);
  });
}

}  // namespace miniinfer::cuda
