#pragma once

// What kernels of every family need of numbers: a type for a dtype, faults, and launch shapes.
//
//   load<S>(p, i), store<S>(p, i, v)  elements of storage type S as Compute<S>: float for the
//                                     16-bit floats, int or unsigned for narrow integers
//   with_float, with_number, with_word  call f(Tag<S>{}) with S of a dtype, or of a size in bytes
//   report_fault                      the first one wins
//   grid_for                          blocks of a grid-stride loop

#include <cuda_runtime.h>

#include <cstdint>

#include "miniinfer/abi/op.h"
#include "plugins/cuda/kernels/number.hpp"

#if defined(MINIINFER_EMULATED)
#undef __grid_constant__
#define __grid_constant__
#define MINIINFER_UNROLL(...)
#else
// `#pragma unroll`, with a number of times if one is given; the host's compiler knows no such
// thing.
#define MINIINFER_UNROLL(...) MINIINFER_PRAGMA(unroll __VA_ARGS__)
#define MINIINFER_PRAGMA(text) _Pragma(#text)
#endif

namespace miniinfer::cuda {

template <class S>
struct Tag {
  using Storage = S;
};

template <class S>
MINIINFER_HD Compute<S> load(const void* base, std::int64_t index) {
  return Number<S>::load(static_cast<const S*>(base)[index]);
}
template <class S>
MINIINFER_HD void store(void* base, std::int64_t index, Compute<S> value) {
  static_cast<S*>(base)[index] = Number<S>::store(value);
}

// Each gives cudaErrorInvalidValue for what it does not know, else what f gives.
template <class F>
cudaError_t with_float(std::int32_t dtype, F&& f) {
  switch (dtype) {
    case MINIINFER_FLOAT32:
      return f(Tag<float>{});
    case MINIINFER_FLOAT16:
      return f(Tag<Float16>{});
    case MINIINFER_BFLOAT16:
      return f(Tag<BFloat16>{});
    case MINIINFER_FLOAT64:
      return f(Tag<double>{});
    default:
      return cudaErrorInvalidValue;
  }
}

template <class F>
cudaError_t with_number(std::int32_t dtype, F&& f) {
  switch (dtype) {
    case MINIINFER_UINT8:
      return f(Tag<unsigned char>{});
    case MINIINFER_INT8:
      return f(Tag<signed char>{});
    case MINIINFER_UINT16:
      return f(Tag<unsigned short>{});
    case MINIINFER_INT16:
      return f(Tag<short>{});
    case MINIINFER_INT32:
      return f(Tag<int>{});
    case MINIINFER_INT64:
      return f(Tag<long long>{});
    case MINIINFER_BOOL:
      return f(Tag<Bool>{});
    case MINIINFER_UINT32:
      return f(Tag<unsigned>{});
    case MINIINFER_UINT64:
      return f(Tag<unsigned long long>{});
    default:
      return with_float(dtype, f);
  }
}

// For kernels that only move elements.
template <class F>
cudaError_t with_word(std::int64_t bytes, F&& f) {
  switch (bytes) {
    case 1:
      return f(Tag<unsigned char>{});
    case 2:
      return f(Tag<unsigned short>{});
    case 4:
      return f(Tag<unsigned>{});
    case 8:
      return f(Tag<unsigned long long>{});
    case 16:
      return f(Tag<uint4>{});
    default:
      return cudaErrorInvalidValue;
  }
}

// `fault` may be null: nobody reads it.
__device__ inline void report_fault(miniinfer_fault* fault, std::int32_t code, std::uint32_t step,
                                    std::int64_t first, std::int64_t second) {
#if defined(__CUDA_ARCH__) || defined(MINIINFER_EMULATED)
  if (fault == nullptr || atomicCAS(&fault->code, MINIINFER_FAULT_NONE, code) != 0) return;
  fault->step = step;
  fault->detail[0] = first;
  fault->detail[1] = second;
#endif
}

inline constexpr unsigned kThreads = 256;

// Blocks of kThreads for `items` items, `per_thread` of them to a thread; at most so many that a
// grid-stride loop makes up for the rest, and at least one.
inline unsigned grid_for(std::int64_t items, std::int64_t per_thread = 1) {
  const std::int64_t per_block = std::int64_t{kThreads} * per_thread;
  const std::int64_t blocks = (items + per_block - 1) / per_block;
  constexpr std::int64_t kMost = 1 << 20;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks < kMost ? blocks : kMost);
}

// for (std::int64_t i = first_item(); i < items; i += item_step())
__device__ inline std::int64_t first_item() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::int64_t item_step() {
  return static_cast<std::int64_t>(gridDim.x) * blockDim.x;
}

}  // namespace miniinfer::cuda
