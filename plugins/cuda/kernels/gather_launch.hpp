#pragma once

#include <cuda_runtime_api.h>

#include "plugins/cuda/kernels/gather_walk.hpp"

namespace miniinfer::cuda {

// Where an index out of range is reported; `to` may be null.
struct FaultAt {
  miniinfer_fault* to;
  std::uint32_t step;
};

// out[position] = data[place], a run each; zeros where an index is out of range.
cudaError_t launch_gather(const GatherWalk& walk, std::int64_t element_bytes, const void* data,
                          const void* indices, void* out, FaultAt fault, cudaStream_t stream);

}  // namespace miniinfer::cuda
