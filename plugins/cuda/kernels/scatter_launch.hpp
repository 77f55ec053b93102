#pragma once

#include <cuda_runtime_api.h>

#include "plugins/cuda/kernels/gather_launch.hpp"

namespace miniinfer::cuda {

// Updates as lines that never meet: line j has `length` updates, in their order, of which the i-th
// is element ((j / inner) * length + i) * inner + j % inner.
struct ScatterLines {
  std::int64_t count = 0;
  std::int64_t length = 0;
  std::int64_t inner = 1;
};

struct Scatter {
  GatherWalk walk;
  ScatterLines lines;
  std::int32_t dtype;
  std::int64_t element_bytes;
  int combine;  // MINIINFER_SCATTER_*
};

// Each puts updates into `out`, which holds the data already. By words: SET only. By atomics: any
// order. By lines: one thread a line, so that equal inputs give equal bits.
cudaError_t launch_scatter_set(const Scatter& args, const void* indices, const void* updates,
                               void* out, FaultAt fault, cudaStream_t stream);
cudaError_t launch_scatter_atomic(const Scatter& args, const void* indices, const void* updates,
                                  void* out, FaultAt fault, cudaStream_t stream);
cudaError_t launch_scatter_lines(const Scatter& args, const void* indices, const void* updates,
                                 void* out, FaultAt fault, cudaStream_t stream);

}  // namespace miniinfer::cuda
