#pragma once

#include <cuda_runtime_api.h>

#include "miniinfer/sdk/kernel.hpp"
#include "plugins/cuda/check.hpp"
#include "plugins/cuda/context.hpp"

namespace miniinfer::cuda {

// A kernel that is nothing but launches on the stream; the first error is thrown under the kernel's
// name.
class StreamKernel : public sdk::Kernel {
 public:
  explicit StreamKernel(const char* name) : name_(name) {}

  void enqueue(sdk::Stream* stream, const miniinfer_run& run) const final {
    const cudaError_t error = launch(run, static_cast<cudaStream_t>(stream->native()));
    if (error != cudaSuccess) raise(error, name_);
  }

 protected:
  virtual cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const = 0;

  // Where an operand is; null for one that was left out (an argument of -1).
  template <class T = void>
  static T* operand(const miniinfer_run& run, int arg) {
    return arg < 0 ? nullptr : reinterpret_cast<T*>(address(run.args[arg]));
  }
  template <class T = void>
  static T* workspace(const miniinfer_run& run) {
    return reinterpret_cast<T*>(address(run.workspace));
  }
  // Null where nobody reads it.
  static miniinfer_fault* fault(const miniinfer_run& run) {
    return run.fault.handle == 0 ? nullptr : reinterpret_cast<miniinfer_fault*>(address(run.fault));
  }

 private:
  const char* name_;  // lives as long as the process
};

}  // namespace miniinfer::cuda
