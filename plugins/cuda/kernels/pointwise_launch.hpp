#pragma once

#include <cuda_runtime_api.h>

#include "plugins/cuda/kernels/pointwise_interpreter.hpp"

namespace miniinfer::cuda {

// Pointers, fault and step are set. Nothing happens where there are no elements.
cudaError_t launch_interpreted(const InterpretedProgram& program, cudaStream_t stream);

}  // namespace miniinfer::cuda
