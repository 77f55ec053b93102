#pragma once

// Rows of top_k/1: where their elements are, and where what was chosen goes.

#include "plugins/cuda/kernels/top_k_entry.cuh"

namespace miniinfer::cuda {

template <class Bits>
using KeyFor = std::conditional_t<sizeof(Bits) == 8, std::uint64_t, std::uint32_t>;

template <class Bits>
__device__ const Bits* row_of(const TopK& args, std::int64_t row) {
  const std::int64_t outer = row / args.inner;
  return static_cast<const Bits*>(args.in) + outer * args.length * args.inner + row -
         outer * args.inner;
}

// Output `rank` of a row is the element that was at `position`.
template <class Bits>
__device__ void put(const TopK& args, std::int64_t row, const Bits* in, std::uint32_t rank,
                    std::uint32_t position) {
  const std::int64_t outer = row / args.inner;
  const std::int64_t to = (outer * args.k + rank) * args.inner + row - outer * args.inner;
  if (args.values != nullptr) static_cast<Bits*>(args.values)[to] = in[position * args.inner];
  if (args.positions != nullptr) args.positions[to] = position;
}

// Enough for every pair of `entries`, as far as a block has threads.
inline unsigned threads_for(std::uint32_t entries) {
  const std::uint32_t pairs = entries / 2;
  return pairs < 32 ? 32 : pairs > 1024 ? 1024 : pairs;
}

// f(Bits{}) with an unsigned type of the elements' size.
template <class F>
cudaError_t with_bits(int element_bytes, F f) {
  switch (element_bytes) {
    case 1:
      return f(std::uint8_t{});
    case 2:
      return f(std::uint16_t{});
    case 4:
      return f(std::uint32_t{});
    default:
      return f(std::uint64_t{});
  }
}

}  // namespace miniinfer::cuda
