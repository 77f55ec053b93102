#pragma once

#include <cstdint>

#include "plugins/cuda/kernels/launch.cuh"
#include "plugins/cuda/kernels/numeric.cuh"

namespace miniinfer::cuda {

// By all threads of a block whose size is a multiple of a warp's: the sum of the values of the
// threads before this one, and in `total` that of all. `shared` has room for 32 and may be used
// again at once. The order of the sums depends on nothing but the block's size.
template <class T>
__device__ __forceinline__ T scan_block(T value, T* shared, T* total) {
  const unsigned lane = threadIdx.x % 32;
  const unsigned warp = threadIdx.x / 32;
  const unsigned warps = blockDim.x / 32;
  T sum = value;
  for (unsigned distance = 1; distance < 32; distance *= 2) {
    const T other = __shfl_up_sync(~0u, sum, distance);
    if (lane >= distance) sum += other;
  }
  if (lane == 31) shared[warp] = sum;
  T before = __shfl_up_sync(~0u, sum, 1);
  if (lane == 0) before = 0;
  __syncthreads();
  T all = 0;
  for (unsigned w = 0; w < warps; ++w) {
    if (w == warp) before += all;
    all += shared[w];
  }
  __syncthreads();
  *total = all;
  return before;
}

// By one block: makes `n` counts into the sums of those before; the sum of all goes behind them,
// and, but at most `most`, to `total`, which may be null.
static __global__ void __launch_bounds__(1024)
    scan_counts(std::int64_t* counts, std::int64_t n, std::int64_t most, std::int64_t* total) {
  __shared__ long long shared[32];
  long long carried = 0;
  for (std::int64_t tile = 0; tile < n; tile += blockDim.x) {
    const std::int64_t i = tile + threadIdx.x;
    long long all;
    const long long before =
        scan_block(i < n ? static_cast<long long>(counts[i]) : 0ll, shared, &all);
    if (i < n) counts[i] = carried + before;
    carried += all;
  }
  if (threadIdx.x != 0) return;
  counts[n] = carried;
  if (total != nullptr) *total = carried < most ? carried : most;
}

}  // namespace miniinfer::cuda
