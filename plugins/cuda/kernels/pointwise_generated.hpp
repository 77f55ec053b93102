#pragma once

// What generated pointwise kernels are written with: their argument, and packs of elements that are
// moved at once. Read by NVRTC after number.hpp and pointwise_ops.hpp.

#include "plugins/cuda/kernels/pointwise_ops.hpp"

namespace miniinfer::cuda {

// A kernel argument. Axes and operands are the program's; what a kernel does not need is not set.
struct GeneratedArgs {
  void* pointers[16];  // inputs, then outputs
  void* fault;         // a miniinfer_fault, or null
  unsigned step;
  unsigned aligned;  // every pack lies where it can be moved at once
  unsigned count;    // elements; below 2^31
  unsigned reserved;
  FastDivisor divisors[8];
  long long strides[16][8];
};

inline constexpr unsigned kGeneratedThreads = 256;

#if defined(__CUDACC__)

struct GeneratedFault {  // miniinfer_fault
  int code;
  unsigned step;
  long long detail[2];
  long long reserved;
};

struct GeneratedSink {
  void* fault;
  unsigned step;
  __device__ void divide_by_zero(long long a, long long b) const {
    auto* to = static_cast<GeneratedFault*>(fault);
    if (to == nullptr || atomicCAS(&to->code, 0, 2) != 0) return;  // MINIINFER_FAULT_DIVIDE
    to->step = step;
    to->detail[0] = a;
    to->detail[1] = b;
  }
};

template <class S, int N>
struct alignas(sizeof(S) * N) Pack {
  S v[N];
};

// Elements [at, at + N); where not all exist or they are not aligned, the first `n` one by one. The
// rest is a copy of the first, so that nothing is found in them that is not in the data.
template <class S, int N>
__device__ __forceinline__ Pack<S, N> load_pack(const void* base, long long at, bool whole,
                                                unsigned n) {
  const S* from = static_cast<const S*>(base) + at;
  if (whole) return *reinterpret_cast<const Pack<S, N>*>(from);
  Pack<S, N> pack;
#pragma unroll
  for (unsigned e = 0; e < N; ++e) pack.v[e] = from[e < n ? e : 0];
  return pack;
}
template <class S, int N>
__device__ __forceinline__ Pack<S, N> load_strided(const void* base, long long at,
                                                   long long stride) {
  const S* from = static_cast<const S*>(base) + at;
  Pack<S, N> pack;
#pragma unroll
  for (int e = 0; e < N; ++e) pack.v[e] = from[e * stride];
  return pack;
}
template <class S, int N>
__device__ __forceinline__ void store_pack(void* base, long long at, bool whole, unsigned n,
                                           const Pack<S, N>& pack) {
  S* to = static_cast<S*>(base) + at;
  if (whole) {
    *reinterpret_cast<Pack<S, N>*>(to) = pack;
    return;
  }
#pragma unroll
  for (unsigned e = 0; e < N; ++e) {
    if (e < n) to[e] = pack.v[e];
  }
}

#endif

}  // namespace miniinfer::cuda
