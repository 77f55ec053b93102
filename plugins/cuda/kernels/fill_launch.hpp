#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace miniinfer::cuda {

// Fills memory of any alignment with a pattern of 8 bytes, the first of them at `dst`.
cudaError_t launch_fill(void* dst, std::uint64_t bytes, std::uint64_t pattern, cudaStream_t stream);

// Whether this plugin has machine code for the current device.
cudaError_t check_kernels();

}  // namespace miniinfer::cuda
