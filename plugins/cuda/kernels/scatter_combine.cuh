#pragma once

// What scatter does to one element that others may be changing.

#include <type_traits>

#include "miniinfer/abi/op/gather.h"
#include "plugins/cuda/kernels/numeric.cuh"

namespace miniinfer::cuda {

template <class C>
using Wrapping =
    std::conditional_t<kIsFloating<C>, C,
                       std::conditional_t<sizeof(C) == 8, unsigned long long, unsigned>>;

// A float's place among all of its type: -0 before 0, NaN of either sign at the ends. So the
// largest of several does not depend on their order, zeros included.
__device__ inline int order_of(float x) {
  const int bits = static_cast<int>(bits_of(x));
  return bits < 0 ? bits ^ 0x7FFFFFFF : bits;
}
__device__ inline long long order_of(double x) {
  const auto bits = static_cast<long long>(bits_of(x));
  return bits < 0 ? bits ^ 0x7FFFFFFFFFFFFFFFll : bits;
}

// NaN wins.
template <class C>
__device__ C extreme(C a, C b, bool largest) {
  if constexpr (kIsFloating<C>) {
    const bool a_nan = a != a, b_nan = b != b;
    if (a_nan != b_nan) return a_nan ? a : b;
    return (order_of(a) > order_of(b)) == largest ? a : b;
  } else {
    return (a > b) == largest ? a : b;
  }
}

template <class C>
__device__ C combined(C a, C b, int how) {
  using W = Wrapping<C>;
  switch (how) {
    case MINIINFER_SCATTER_ADD:
      return static_cast<C>(static_cast<W>(a) + static_cast<W>(b));
    case MINIINFER_SCATTER_MUL:
      return static_cast<C>(static_cast<W>(a) * static_cast<W>(b));
    case MINIINFER_SCATTER_MAX:
      return extreme(a, b, true);
    case MINIINFER_SCATTER_MIN:
      return extreme(a, b, false);
    default:
      return b;
  }
}

template <class S>
struct AtomicWord {  // the hardware compares 2, 4 and 8 bytes
  using Word = std::conditional_t<sizeof(S) == 8, unsigned long long,
                                  std::conditional_t<sizeof(S) == 4, unsigned, unsigned short>>;
};

// Replaces *p by change(*p) in one step.
template <class S, class Change>
__device__ void change_atomically(S* p, Change change) {
  if constexpr (sizeof(S) == 1) {
    // In the word of 4 bytes around it, whose other bytes stay.
    const auto address = reinterpret_cast<std::uintptr_t>(p);
    auto* around = reinterpret_cast<unsigned*>(address & ~std::uintptr_t{3});
    const unsigned shift = static_cast<unsigned>(address & 3) * 8;
    unsigned seen = *around;
    for (;;) {
      const auto old = __builtin_bit_cast(S, static_cast<unsigned char>(seen >> shift));
      const unsigned byte = __builtin_bit_cast(unsigned char, change(old));
      const unsigned wanted = (seen & ~(0xFFu << shift)) | (byte << shift);
      if (wanted == seen) return;
      const unsigned before = atomicCAS(around, seen, wanted);
      if (before == seen) return;
      seen = before;
    }
  } else {
    using Word = typename AtomicWord<S>::Word;
    auto* word = reinterpret_cast<Word*>(p);
    Word seen = *word;
    for (;;) {
      const Word wanted = __builtin_bit_cast(Word, change(__builtin_bit_cast(S, seen)));
      if (wanted == seen) return;
      const Word before = atomicCAS(word, seen, wanted);
      if (before == seen) return;
      seen = before;
    }
  }
}

template <class S>
__device__ void combine_atomically(S* p, S update, int how) {
  if constexpr (sizeof(S) >= 4) {
    if (how == MINIINFER_SCATTER_ADD) {
      using W = Wrapping<S>;  // integers wrap
      atomicAdd(reinterpret_cast<W*>(p), static_cast<W>(update));
      return;
    }
  }
  const Compute<S> b = Number<S>::load(update);
  change_atomically(
      p, [&](S old) { return Number<S>::store(combined(Number<S>::load(old), b, how)); });
}

}  // namespace miniinfer::cuda
