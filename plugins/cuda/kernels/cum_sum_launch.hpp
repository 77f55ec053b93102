#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace miniinfer::cuda {

// Along the middle axis of [outer, length, inner]. `out` may be `in`.
struct CumSum {
  const void* in;
  void* out;
  std::int32_t dtype;
  bool exclusive;
  bool reverse;
  std::int64_t outer;
  std::int64_t length;
  std::int64_t inner;
};

cudaError_t launch_cum_sum(const CumSum& args, cudaStream_t stream);

}  // namespace miniinfer::cuda
