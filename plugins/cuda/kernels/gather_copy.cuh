#pragma once

// Runs of elements copied in words as wide as alignment and length allow. Bound by memory: each
// thread moves one word, so a run of 16-byte words is read and written in full lines; the indices a
// run shares come from the first-level cache.

#include "plugins/cuda/kernels/gather_launch.hpp"
#include "plugins/cuda/kernels/launch.cuh"
#include "plugins/cuda/kernels/numeric.cuh"

namespace miniinfer::cuda {

// The widest word, in bytes, that divides `bytes` and at which both addresses are aligned.
inline std::int64_t word_bytes(std::int64_t bytes, const void* a, const void* b) {
  const auto bits = static_cast<std::uint64_t>(bytes) | reinterpret_cast<std::uintptr_t>(a) |
                    reinterpret_cast<std::uintptr_t>(b) | 16;
  return static_cast<std::int64_t>(bits & (~bits + 1));
}

// Position i / words of the walk and word i % words of its run.
template <class Index>
struct WordOf {
  std::int64_t words;
  FastDivisor divisor;

  explicit WordOf(std::int64_t words) : words(words) {
    if (words < kSmall) divisor = make_fast_divisor(static_cast<unsigned>(words));
  }
  __device__ void split(Index i, Index* position, Index* word) const {
    if constexpr (sizeof(Index) == 4) {
      *word = divisor.split(i);
      *position = i;
    } else {
      *position = i / words;
      *word = i - *position * words;
    }
  }
};

// f(Index{}) with the index type that `count` things need.
template <class F>
cudaError_t with_index(std::int64_t count, F&& f) {
  return count < kSmall ? f(unsigned{}) : f(std::int64_t{});
}

// The most of what a walk over words counts.
inline std::int64_t largest_count(const GatherWalk& walk, std::int64_t words) {
  const std::int64_t places = walk.places > walk.positions ? walk.places : walk.positions;
  const std::int64_t indices = walk.positions * walk.depth;
  return places * words > indices ? places * words : indices;
}

}  // namespace miniinfer::cuda
