#pragma once

#include "plugins/cuda/kernels/conv_shape.hpp"
#include "plugins/cuda/kernels/epilogue_launch.hpp"

namespace miniinfer::cuda {

// Bias, residual and clip of what a library left as a sum in y.
inline cudaError_t finish_conv(const ConvArgs& args, cudaStream_t stream) {
  const bool row_major = has_layout(conv_dims(args).y, args.y_strides, ConvLayout::kRowMajor);
  EpilogueArgs rest{};
  rest.out = args.y;
  rest.bias = args.bias;
  rest.residual = args.residual;
  rest.count = output_count(args);
  rest.inner = args.y_strides[1] == 1 && !row_major ? 1 : args.out[0] * args.out[1] * args.out[2];
  rest.channels = args.group * args.out_channels;
  rest.low = args.low;
  rest.high = args.high;
  rest.dtype = args.dtype;
  return launch_epilogue(rest, stream);
}

}  // namespace miniinfer::cuda
