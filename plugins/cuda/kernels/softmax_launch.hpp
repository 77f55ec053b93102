#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace miniinfer::cuda {

// Along the middle axis of [outer, length, inner]. `out` may be `in`.
struct Softmax {
  const void* in;
  void* out;
  std::int32_t dtype;
  bool logarithm;
  std::int64_t outer;
  std::int64_t length;
  std::int64_t inner;
};

cudaError_t launch_softmax(const Softmax& args, cudaStream_t stream);

}  // namespace miniinfer::cuda
