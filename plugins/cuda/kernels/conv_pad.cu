// Copies planes into larger ones with zeros around, for libraries that pad both ends alike, and
// puts weights into another order. Bound by the bytes.

#include "plugins/cuda/kernels/conv_launch.hpp"
#include "plugins/cuda/kernels/launch.cuh"
#include "plugins/cuda/kernels/numeric.cuh"

namespace miniinfer::cuda {
namespace {

template <class S>
__global__ void __launch_bounds__(kThreads)
    pad_planes(ConvArgs s, bool last, void* to, std::int64_t count) {
  const std::int64_t channels = s.group * s.in_channels;
  std::int64_t dims[3];
  for (int axis = 0; axis < 3; ++axis) dims[axis] = padded_size(s, axis);
  for (std::int64_t i = first_item(); i < count; i += item_step()) {
    std::int64_t rest = i, at = 0;
    bool inside = true;
    if (last) {
      at = rest % channels * s.x_strides[1];
      rest /= channels;
    }
    for (int axis = 2; axis >= 0; --axis) {
      const std::int64_t place = rest % dims[axis] - s.pad_begin[axis];
      rest /= dims[axis];
      inside = inside && place >= 0 && place < s.in[axis];
      at += place * s.x_strides[2 + axis];
    }
    if (!last) {
      at += rest % channels * s.x_strides[1];
      rest /= channels;
    }
    at += rest * s.x_strides[0];
    static_cast<S*>(to)[i] = inside ? static_cast<const S*>(s.x)[at] : S{};
  }
}

// Once, when a model is loaded.
template <class S>
__global__ void __launch_bounds__(kThreads)
    turn_weights(const void* from, void* to, std::int64_t columns, std::int64_t taps,
                 std::int64_t count) {
  for (std::int64_t i = first_item(); i < count; i += item_step()) {
    const std::int64_t column = i % columns, tap = i / columns % taps, row = i / columns / taps;
    static_cast<S*>(to)[i] = static_cast<const S*>(from)[(row * columns + column) * taps + tap];
  }
}

}  // namespace

cudaError_t launch_conv_turn(const ConvArgs& args, const void* weights, std::int64_t rows,
                             std::int64_t columns, void* to, cudaStream_t stream) {
  const std::int64_t taps = args.window[0] * args.window[1] * args.window[2];
  const std::int64_t count = rows * columns * taps;
  if (count == 0) return cudaSuccess;
  return with_float(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Storage;
    return launch(turn_weights<S>, dim3(grid_for(count)), dim3(kThreads), 0, stream, weights, to,
                  columns, taps, count);
  });
}

cudaError_t launch_conv_pad(const ConvArgs& args, bool channels_last, void* to,
                            cudaStream_t stream) {
  const std::int64_t count = padded_elements(args);
  if (count == 0) return cudaSuccess;
  return with_float(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Storage;
    return launch(pad_planes<S>, dim3(grid_for(count)), dim3(kThreads), 0, stream, args,
                  channels_last, to, count);
  });
}

}  // namespace miniinfer::cuda
