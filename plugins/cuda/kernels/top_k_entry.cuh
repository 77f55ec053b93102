#pragma once

// What top_k/1 and non_max_suppression/1 sort: an element's order as an unsigned number, and where
// it was. Equal elements keep the order of their positions, so no two entries are equal and a sort
// needs not be stable.

#include <cstdint>
#include <type_traits>

#include "plugins/cuda/kernels/launch.cuh"
#include "plugins/cuda/kernels/top_k_launch.hpp"

namespace miniinfer::cuda {

// The larger key goes first. NaN counts as larger than every number; -0 equals 0.
template <class Key, class Bits>
__device__ __forceinline__ Key key_of(Bits bits, const KeyRule& rule) {
  constexpr Key kSign = Key{1} << (8 * sizeof(Bits) - 1);
  constexpr Key kAll = kSign | (kSign - 1);
  Key key = bits;
  if (rule.kind == KeyRule::kSigned) {
    key ^= kSign;
  } else if (rule.kind == KeyRule::kFloat) {
    const Key magnitude = key & ~kSign;
    if (magnitude > static_cast<Key>(rule.infinity)) {
      key = kAll;
    } else if (magnitude == 0) {
      key = kSign;
    } else {
      key = (key & kSign) != 0 ? ~key & kAll : key | kSign;
    }
  }
  return rule.smallest ? ~key & kAll : key;
}

template <class Key>
struct Entry {  // keys of 64 bits
  std::uint64_t key;
  std::uint64_t place;

  static __device__ Entry make(Key key, std::uint32_t position) { return {key, ~position}; }
  static __device__ Entry last() { return {0, 0}; }
  __device__ std::uint32_t position() const { return ~static_cast<std::uint32_t>(place); }
  __device__ bool before(const Entry& other) const {
    return key > other.key || (key == other.key && place > other.place);
  }
};

template <>
struct Entry<std::uint32_t> {
  std::uint64_t both;

  static __device__ Entry make(std::uint32_t key, std::uint32_t position) {
    return {static_cast<std::uint64_t>(key) << 32 | static_cast<std::uint32_t>(~position)};
  }
  static __device__ Entry last() { return {0}; }
  __device__ std::uint32_t position() const { return ~static_cast<std::uint32_t>(both); }
  __device__ bool before(const Entry& other) const { return both > other.both; }
};

// Exchanges pairs `stride` apart of the `count` entries, which lie at `first` of a longer sequence
// that is made of ordered runs of `size`, every other one backwards.
template <class E>
__device__ __forceinline__ void exchange(E* entries, std::uint32_t count, std::uint32_t first,
                                         std::uint32_t size, std::uint32_t stride,
                                         std::uint32_t from, std::uint32_t step) {
  for (std::uint32_t t = from; t < count / 2; t += step) {
    const std::uint32_t i = 2 * t - (t & (stride - 1));
    const E a = entries[i];
    const E b = entries[i + stride];
    if (b.before(a) == (((first + i) & size) == 0)) {
      entries[i] = b;
      entries[i + stride] = a;
    }
  }
}

// By all threads of a block: sorts `count` entries in shared memory, a power of two, which lie at
// `first` of a longer sequence. The entries are visible to all threads before and after.
template <class E>
__device__ void sort_in_block(E* entries, std::uint32_t count, std::uint32_t first) {
  for (std::uint32_t size = 2; size <= count; size *= 2) {
    for (std::uint32_t stride = size / 2; stride > 0; stride /= 2) {
      exchange(entries, count, first, size, stride, threadIdx.x, blockDim.x);
      __syncthreads();
    }
  }
}

}  // namespace miniinfer::cuda
