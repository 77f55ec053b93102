#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "plugins/cuda/kernels/number.hpp"

namespace miniinfer::cuda {

// A convolution over three spatial axes, or its transpose, with what follows it:
// y = clip(conv(x, w) + bias + residual). Channels are those of one group; strides are in elements,
// of [n, c, d, h, w]; the residual has y's.
struct ConvArgs {
  const void* x;
  const void* w;
  const void* bias;      // or null
  const void* residual;  // or null
  void* y;
  std::int64_t batch, group, in_channels, out_channels;
  std::int64_t in[3], out[3], window[3], stride[3], dilation[3], pad_begin[3], pad_end[3];
  std::int64_t x_strides[5], w_strides[5], y_strides[5];
  double low, high;
  std::int32_t dtype;  // a float type
  bool transpose;
};

// Any shape and strides: each thread sums one element of y.
cudaError_t launch_conv_direct(const ConvArgs& args, cudaStream_t stream);

// One channel in and one out of each group, see conv_depthwise_serves in conv_shape.hpp. Of
// row-major planes, and of channels-last ones.
cudaError_t launch_conv_depthwise(const ConvArgs& args, cudaStream_t stream);
cudaError_t launch_conv_depthwise_last(const ConvArgs& args, cudaStream_t stream);

// Row-major weights [rows, columns, window..] as [rows, window.., columns].
cudaError_t launch_conv_turn(const ConvArgs& args, const void* weights, std::int64_t rows,
                             std::int64_t columns, void* to, cudaStream_t stream);

// x with its padding, which is nowhere negative, as row-major [n, d, h, w, c] with channels last
// and otherwise [n, c, d, h, w].
cudaError_t launch_conv_pad(const ConvArgs& args, bool channels_last, void* to,
                            cudaStream_t stream);

MINIINFER_HD std::int64_t padded_size(const ConvArgs& args, int axis) {
  return args.in[axis] + args.pad_begin[axis] + args.pad_end[axis];
}
inline std::int64_t output_count(const ConvArgs& args) {
  return args.batch * args.group * args.out_channels * args.out[0] * args.out[1] * args.out[2];
}
inline std::int64_t padded_elements(const ConvArgs& args) {
  return args.batch * args.group * args.in_channels * padded_size(args, 0) * padded_size(args, 1) *
         padded_size(args, 2);
}

}  // namespace miniinfer::cuda
