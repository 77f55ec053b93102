#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "plugins/cuda/kernels/pointwise_source.hpp"

namespace miniinfer::cuda {

class Device;

class CompiledKernel;

// The kernel made from a generated source; null where there is none, and then the interpreter does
// the same work. What was made stays in memory while it is used, and a bounded number beyond that;
// it stays in the host's cache, by source, architecture and NVRTC's version. What is in neither is
// compiled (some 100 ms) if it is `worth_compiling`. With the option cuda.nvrtc=off nothing is,
// with cuda.nvrtc=always everything. The device is current. [any-thread]
std::shared_ptr<const CompiledKernel> compile_pointwise(const Device& device,
                                                        const GeneratedSource& source,
                                                        bool worth_compiling);

// Pointers, fault, step and aligned are set; there are elements.
cudaError_t launch_compiled(const CompiledKernel& kernel, const GeneratedArgs& args, int vector,
                            cudaStream_t stream);

}  // namespace miniinfer::cuda
