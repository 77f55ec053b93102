#pragma once

// cuDNN's backend interface as the backend uses it. A function that a kernel needs is one more line
// here.

#include <cudnn_graph.h>

// clang-format off
#define MINIINFER_CUDNN_FUNCTIONS(X)  \
  X(cudnnGetVersion)                  \
  X(cudnnGetCudartVersion)            \
  X(cudnnGetErrorString)              \
  X(cudnnGetLastErrorString)          \
  X(cudnnCreate)                      \
  X(cudnnDestroy)                     \
  X(cudnnSetStream)                   \
  X(cudnnBackendCreateDescriptor)     \
  X(cudnnBackendDestroyDescriptor)    \
  X(cudnnBackendFinalize)             \
  X(cudnnBackendSetAttribute)         \
  X(cudnnBackendGetAttribute)         \
  X(cudnnBackendExecute)
// clang-format on

namespace miniinfer::cuda {

// Called as `cudnn.cudnnBackendExecute(...)`; see Libraries::cudnn.
struct Cudnn {
#define MINIINFER_FUNCTION(name) decltype(&::name) name;
  MINIINFER_CUDNN_FUNCTIONS(MINIINFER_FUNCTION)
#undef MINIINFER_FUNCTION
};

}  // namespace miniinfer::cuda
