#pragma once

// The runtime's objects, owned. Destroyed with the device current; failures are swallowed.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>

namespace miniinfer::cuda {

template <auto destroy>
struct Destroy {
  template <class T>
  void operator()(T* object) const noexcept {
    if (destroy(object) != cudaSuccess) static_cast<void>(cudaGetLastError());
  }
};

using UniqueStream = std::unique_ptr<CUstream_st, Destroy<cudaStreamDestroy>>;
using UniqueEvent = std::unique_ptr<CUevent_st, Destroy<cudaEventDestroy>>;
using UniqueGraph = std::unique_ptr<CUgraph_st, Destroy<cudaGraphDestroy>>;
using UniqueGraphExec = std::unique_ptr<CUgraphExec_st, Destroy<cudaGraphExecDestroy>>;
using UniquePinned = std::unique_ptr<std::byte, Destroy<cudaFreeHost>>;

}  // namespace miniinfer::cuda
