#pragma once

// What both kernels of attention/1 share: tiles of rows on their way to shared memory, the place of
// a block, the mask, and when a probability is not one.

#include <cstdint>

#include "plugins/cuda/kernels/attention_launch.hpp"
#include "plugins/cuda/kernels/launch.cuh"
#include "plugins/cuda/kernels/numeric.cuh"

namespace miniinfer::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800

// 16 bytes to shared memory behind the threads' backs; zeros where there is nothing `inside`.
__device__ __forceinline__ void copy_async(void* to, const void* from, bool inside) {
  const auto shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from),
               "r"(inside ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until no more than the last `kPending` commits are on their way.
template <int kPending>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

#else

__device__ __forceinline__ void copy_async(void* to, const void* from, bool inside) {
  *static_cast<uint4*>(to) = inside ? *static_cast<const uint4*>(from) : uint4{0, 0, 0, 0};
}
__device__ __forceinline__ void commit_copies() {}
template <int kPending>
__device__ __forceinline__ void wait_for_copies() {}

#endif

// `rows` rows of kDepth elements, of which `valid` rows and `depth` columns exist; the others are
// zero. By all threads of the block.
template <class E, int kDepth, int kPitch>
__device__ __forceinline__ void load_tile(E* tile, const AttentionOperand& operand, const E* from,
                                          int rows, int valid, int depth) {
  constexpr int kChunk = static_cast<int>(16 / sizeof(E));
  constexpr int kAcross = kDepth / kChunk;
  for (int chunk = static_cast<int>(threadIdx.x); chunk < rows * kAcross;
       chunk += static_cast<int>(blockDim.x)) {
    const int row = chunk / kAcross, column = chunk % kAcross * kChunk;
    const bool inside = row < valid && column < depth;
    const E* at = inside ? from + row * operand.row + column : from;
    E* to = tile + row * kPitch + column;
    if (operand.wide) {
      copy_async(to, at, inside);
      continue;
    }
    MINIINFER_UNROLL()
    for (int i = 0; i < kChunk; ++i) to[i] = inside && column + i < depth ? at[i] : E{};
  }
}

// A block's share: `rows` queries from `first` on of one head of one batch.
template <class E>
struct AttentionPlace {
  int first;
  const E *q, *k, *v, *mask;
  E* y;

  __device__ AttentionPlace(const Attention& x, int rows) {
    const int tiles = (x.queries + rows - 1) / rows;
    const int pair = static_cast<int>(blockIdx.x) / tiles;
    first = (static_cast<int>(blockIdx.x) - pair * tiles) * rows;
    const int batch = pair / x.heads, head = pair - batch * x.heads;
    const int group = head / x.heads_per_group;
    const auto base = [&](const AttentionOperand& operand, int which) {
      return static_cast<const E*>(operand.at) + batch * operand.batch + which * operand.head;
    };
    q = base(x.q, head) + first * x.q.row;
    k = base(x.k, group);
    v = base(x.v, group);
    y = const_cast<E*>(base(x.y, head));
    mask = x.mask == nullptr
               ? nullptr
               : static_cast<const E*>(x.mask) + batch * x.mask_batch + head * x.mask_head;
  }
};

// How many keys query i meets.
__device__ __forceinline__ int keys_of(const Attention& x, int query) {
  const std::int64_t end = query + x.past + 1;
  return static_cast<int>(end < 0 ? 0 : end < x.keys ? end : x.keys);
}

// Where a row's scores stand before they are raised: its largest, or 0 where all are -infinity, so
// that they become zeros.
__device__ __forceinline__ float finite_top(float top) { return top == -INFINITY ? 0.0f : top; }

// What a row is multiplied by in the end. A sum of nothing gives NaN, as a sum of NaN does.
__device__ __forceinline__ float reciprocal_sum(const Attention& x, float sum) {
  if (x.nan_to_zero && !(sum > 0.0f)) return 0.0f;
  return sum == 0.0f ? NAN : 1.0f / sum;
}

// 0 times what may be NaN.
__device__ __forceinline__ float scaled(float value, float factor) {
  return factor == 0.0f ? 0.0f : value * factor;
}

}  // namespace miniinfer::cuda
