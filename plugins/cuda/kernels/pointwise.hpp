#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <vector>

#include "plugins/cuda/family.hpp"
#include "plugins/cuda/kernels/pointwise_interpreter.hpp"
#include "plugins/cuda/kernels/pointwise_source.hpp"

namespace miniinfer::cuda {

class CompiledKernel;

extern const Family kPointwise;

// A pointwise node of a region, ready to be launched: alone, or on what a producer in the same
// region has just written.
class PointwiseRunner {
 public:
  // Throws sdk::Error UNSUPPORTED with the reason where the node cannot be served; so
  // read_pointwise(region, node) is what support() calls.
  PointwiseRunner(const Device& device, const sdk::Region& region, std::uint32_t node);

  // `inside`: where the input lies that exists only inside the region, if there is one. It may be
  // the memory of an output of the same type and shape.
  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream, void* inside = nullptr) const;

  bool is_compiled() const { return kernel_ != nullptr; }

 private:
  std::vector<int> args_;  // of inputs, then outputs; -1: inside the region
  InterpretedProgram interpreted_;
  std::shared_ptr<const CompiledKernel> kernel_;
  GeneratedSource generated_;  // without its text
};

}  // namespace miniinfer::cuda
