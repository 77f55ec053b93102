// The pointwise kernels for programs that test what runs them as an epilogue.

#include "tests/cuda/emulated.hpp"  // before the kernel

#include "plugins/cuda/kernels/pointwise.cu"
#include "plugins/cuda/kernels/pointwise_compiled.hpp"

namespace miniinfer::cuda {

// There is no compiler for an emulated device: everything is interpreted.
std::shared_ptr<const CompiledKernel> compile_pointwise(const Device&, const GeneratedSource&,
                                                        bool) {
  return nullptr;
}
cudaError_t launch_compiled(const CompiledKernel&, const GeneratedArgs&, int, cudaStream_t) {
  return cudaErrorNotSupported;
}

}  // namespace miniinfer::cuda
