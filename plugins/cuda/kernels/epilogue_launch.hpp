#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace miniinfer::cuda {

// out = activation(out + bias[i / inner % channels] + residual), in place over `count` elements
// that lie row-major. Bias and residual may be null.
struct EpilogueArgs {
  void* out;
  const void* bias;
  const void* residual;
  std::int64_t count;
  std::int64_t inner;
  std::int64_t channels;
  double low, high;    // the clip
  bool gelu;           // GELU in its tanh form instead
  std::int32_t dtype;  // a float type
};

cudaError_t launch_epilogue(const EpilogueArgs& args, cudaStream_t stream);

}  // namespace miniinfer::cuda
