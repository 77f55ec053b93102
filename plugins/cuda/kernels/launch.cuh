#pragma once

// How a kernel is put on a stream and how it gets its dynamic shared memory: the two things that
// are no C++. tests/cuda/emulated.hpp has its own, so that kernels are tested where there is no
// GPU.

#ifdef __CUDACC__

#include <cuda_runtime.h>

#include <cstddef>

namespace miniinfer::cuda {

template <class... P, class... A>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes,
                   cudaStream_t stream, A... args) {
  kernel<<<grid, block, shared_bytes, stream>>>(P(args)...);
  return cudaGetLastError();
}

template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char miniinfer_dynamic_shared[];
  return reinterpret_cast<T*>(miniinfer_dynamic_shared);
}

}  // namespace miniinfer::cuda

#endif
