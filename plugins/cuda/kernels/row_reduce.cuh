#pragma once

// Rows handled by one warp or by one block, for softmax/1 and layer_norm/1.

#include <cstdint>

#include "plugins/cuda/kernels/launch.cuh"
#include "plugins/cuda/kernels/numeric.cuh"

namespace miniinfer::cuda {

inline constexpr int kWarp = 32;
inline constexpr int kRowsPerBlock = 4;  // where a warp has a row of its own

// Elements that are read and written in one go.
template <class S, int kCount>
struct alignas(sizeof(S) * kCount) Pack {
  S at[kCount];
};

// 16 bytes' worth.
template <class S>
inline constexpr int kPackOf = static_cast<int>(16 / sizeof(S));

inline bool is_aligned(const void* p, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(p) % bytes == 0;
}

struct Sum {
  template <class C>
  static __device__ C of(C a, C b) {
    return a + b;
  }
};
struct Largest {  // of numbers: NaN is passed over
  static __device__ float of(float a, float b) { return fmaxf(a, b); }
  static __device__ double of(double a, double b) { return fmax(a, b); }
};

template <class Op, class C>
__device__ __forceinline__ C reduce_warp(C value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value = Op::of(value, __shfl_xor_sync(~0u, value, distance));
  }
  return value;
}

// Of all threads of a block whose size is a multiple of a warp's; `shared` has room for 32 and may
// be used again at once.
template <class Op, class C>
__device__ __forceinline__ C reduce_block(C value, C neutral, C* shared) {
  value = reduce_warp<Op>(value);
  const unsigned lane = threadIdx.x % kWarp;
  if (lane == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = reduce_warp<Op>(lane < blockDim.x / kWarp ? shared[lane] : neutral);
  __syncthreads();
  return value;
}

// A row's threads: a warp of a block of kRowsPerBlock rows, or a whole block.
template <bool kBlock>
struct RowGroup {
  static __device__ std::int64_t row() {
    if constexpr (kBlock) return blockIdx.x;
    return static_cast<std::int64_t>(blockIdx.x) * kRowsPerBlock + threadIdx.x / kWarp;
  }
  static __device__ int rank() {
    return static_cast<int>(kBlock ? threadIdx.x : threadIdx.x % kWarp);
  }
  static __device__ int size() { return kBlock ? static_cast<int>(blockDim.x) : kWarp; }
  template <class Op, class C>
  static __device__ C reduce(C value, C neutral, C* shared) {
    if constexpr (kBlock) return reduce_block<Op>(value, neutral, shared);
    return reduce_warp<Op>(value);
  }
};

// A row in the registers of its threads: pack p of thread t is pack p * threads + t of the row.
// What lies behind the row's end is `outside`.
template <class S, int kPacks, int kWide, class Group>
__device__ __forceinline__ void load_row(const S* in, int length, Compute<S> outside,
                                         Compute<S> (&x)[kPacks * kWide]) {
  MINIINFER_UNROLL()
  for (int p = 0; p < kPacks; ++p) {
    const int at = (p * Group::size() + Group::rank()) * kWide;
    if (at < length) {  // the length is a multiple of kWide
      const auto pack = *reinterpret_cast<const Pack<S, kWide>*>(in + at);
      MINIINFER_UNROLL()
      for (int i = 0; i < kWide; ++i) x[p * kWide + i] = Number<S>::load(pack.at[i]);
    } else {
      MINIINFER_UNROLL()
      for (int i = 0; i < kWide; ++i) x[p * kWide + i] = outside;
    }
  }
}

template <class S, int kPacks, int kWide, class Group>
__device__ __forceinline__ void store_row(S* out, int length,
                                          const Compute<S> (&y)[kPacks * kWide]) {
  MINIINFER_UNROLL()
  for (int p = 0; p < kPacks; ++p) {
    const int at = (p * Group::size() + Group::rank()) * kWide;
    if (at >= length) continue;
    Pack<S, kWide> pack;
    MINIINFER_UNROLL()
    for (int i = 0; i < kWide; ++i) pack.at[i] = Number<S>::store(y[p * kWide + i]);
    *reinterpret_cast<Pack<S, kWide>*>(out + at) = pack;
  }
}

// How many threads a row gets, and how many of its elements each keeps.
struct RowShape {
  bool block;
  unsigned threads;
  int per_thread;  // 2, 8, 16 or 32; 0: the row does not fit in registers
};

inline RowShape row_shape(std::int64_t length) {
  if (length <= 64) return {false, kWarp * kRowsPerBlock, 2};
  if (length <= 256) return {false, kWarp * kRowsPerBlock, 8};
  if (length <= 1024) return {false, kWarp * kRowsPerBlock, 32};
  if (length <= 2048) return {true, 256, 8};
  if (length <= 4096) return {true, 512, 8};
  if (length <= 8192) return {true, 1024, 8};
  if (length <= 16384) return {true, 1024, 16};
  return {true, 1024, 0};
}

inline std::int64_t row_blocks(const RowShape& shape, std::int64_t rows) {
  return shape.block ? rows : (rows + kRowsPerBlock - 1) / kRowsPerBlock;
}

}  // namespace miniinfer::cuda
