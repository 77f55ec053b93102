#pragma once

// What reductions of every shape share: how elements are read, combined and written.

#include "miniinfer/abi/op/reduce.h"
#include "plugins/cuda/kernels/numeric.cuh"
#include "plugins/cuda/kernels/reduce_launch.hpp"

namespace miniinfer::cuda {

// Reads elements of one storage type, or of any signed or unsigned one: integers are few, and one
// kernel for all is as fast as memory.
template <class S>
struct LoadAs {
  using Acc = Compute<S>;
  __device__ static Acc load(const void* base, std::int64_t index, int) {
    return cuda::load<S>(base, index);
  }
};
struct LoadSigned {
  using Acc = long long;
  __device__ static Acc load(const void* base, std::int64_t index, int dtype) {
    switch (dtype) {
      case MINIINFER_INT8:
        return cuda::load<signed char>(base, index);
      case MINIINFER_INT16:
        return cuda::load<short>(base, index);
      case MINIINFER_INT32:
        return cuda::load<int>(base, index);
      default:
        return cuda::load<long long>(base, index);
    }
  }
};
struct LoadUnsigned {
  using Acc = unsigned long long;
  __device__ static Acc load(const void* base, std::int64_t index, int dtype) {
    switch (dtype) {
      case MINIINFER_BOOL:
        return cuda::load<Bool>(base, index);
      case MINIINFER_UINT8:
        return cuda::load<unsigned char>(base, index);
      case MINIINFER_UINT16:
        return cuda::load<unsigned short>(base, index);
      case MINIINFER_UINT32:
        return cuda::load<unsigned>(base, index);
      default:
        return cuda::load<unsigned long long>(base, index);
    }
  }
};

template <class F>
cudaError_t with_loader(int dtype, F&& f) {
  switch (dtype) {
    case MINIINFER_FLOAT32:
      return f(LoadAs<float>{});
    case MINIINFER_FLOAT16:
      return f(LoadAs<Float16>{});
    case MINIINFER_BFLOAT16:
      return f(LoadAs<BFloat16>{});
    case MINIINFER_FLOAT64:
      return f(LoadAs<double>{});
    case MINIINFER_INT8:
    case MINIINFER_INT16:
    case MINIINFER_INT32:
    case MINIINFER_INT64:
      return f(LoadSigned{});
    default:
      return f(LoadUnsigned{});
  }
}

inline constexpr std::uint32_t kNoPosition = 0xFFFFFFFF;

// Where a kernel keeps positions it is the extreme element and where it was.
template <class Acc, bool kPositions>
struct Partial {
  Acc value;
};
template <class Acc>
struct Partial<Acc, true> {
  Acc value;
  std::uint32_t at;
};

__device__ inline bool wants_largest(const ReduceResult& result) {
  return result.kind == MINIINFER_REDUCE_MAX || result.kind == MINIINFER_REDUCE_ARGMAX;
}

// The lowest and highest number of a type; infinities of the float types.
template <class Acc>
__device__ Acc extreme(int dtype, bool lowest) {
  if constexpr (kIsFloating<Acc>) {
    const Acc infinity = static_cast<Acc>(float_of(0x7F800000u));
    return lowest ? -infinity : infinity;
  } else {
    int bits = 64;
    if (dtype == MINIINFER_INT8 || dtype == MINIINFER_UINT8) bits = 8;
    if (dtype == MINIINFER_INT16 || dtype == MINIINFER_UINT16) bits = 16;
    if (dtype == MINIINFER_INT32 || dtype == MINIINFER_UINT32) bits = 32;
    if (dtype == MINIINFER_BOOL) bits = 1;
    constexpr bool kSigned = static_cast<Acc>(-1) < static_cast<Acc>(0);
    if constexpr (kSigned) {
      const auto highest = static_cast<Acc>(~0ull >> (65 - bits));
      return lowest ? -highest - 1 : highest;
    } else {
      return lowest ? Acc{0} : static_cast<Acc>(~0ull >> (64 - bits));
    }
  }
}

template <class Acc>
__device__ Acc identity(const ReduceResult& result) {
  switch (result.kind) {
    case MINIINFER_REDUCE_SUM:
    case MINIINFER_REDUCE_MEAN:
      return Acc{0};
    case MINIINFER_REDUCE_PROD:
      return Acc{1};
    default:
      return extreme<Acc>(result.dtype, wants_largest(result));
  }
}

template <class Acc, bool kPositions>
__device__ Partial<Acc, kPositions> nothing(const ReduceResult& result) {
  if constexpr (kPositions) {
    return {identity<Acc>(result), kNoPosition};
  } else {
    return {identity<Acc>(result)};
  }
}

template <class Acc, bool kPositions>
__device__ Partial<Acc, kPositions> single(Acc value, [[maybe_unused]] std::uint32_t at) {
  if constexpr (kPositions) {
    return {value, at};
  } else {
    return {value};
  }
}

template <class Acc>
__device__ Partial<Acc, false> combine(const ReduceResult& result, const Partial<Acc, false>& a,
                                       const Partial<Acc, false>& b) {
  const Acc x = a.value;
  const Acc y = b.value;
  switch (result.kind) {
    case MINIINFER_REDUCE_SUM:
    case MINIINFER_REDUCE_MEAN:
      if constexpr (kIsFloating<Acc>) {
        return {x + y};
      } else {
        return {static_cast<Acc>(static_cast<unsigned long long>(x) +
                                 static_cast<unsigned long long>(y))};
      }
    case MINIINFER_REDUCE_PROD:
      if constexpr (kIsFloating<Acc>) {
        return {x * y};
      } else {
        return {static_cast<Acc>(static_cast<unsigned long long>(x) *
                                 static_cast<unsigned long long>(y))};
      }
    case MINIINFER_REDUCE_MAX:
      return {y > x || y != y ? y : x};
    default:
      return {y < x || y != y ? y : x};
  }
}

// The better of two extremes, in any order: a NaN before every number, then the first of equals, or
// the last.
template <class Acc>
__device__ Partial<Acc, true> combine(const ReduceResult& result, const Partial<Acc, true>& a,
                                      const Partial<Acc, true>& b) {
  if (b.at == kNoPosition) return a;
  if (a.at == kNoPosition) return b;
  const bool a_nan = a.value != a.value;
  const bool b_nan = b.value != b.value;
  if (a.value == b.value || (a_nan && b_nan)) {
    return (b.at > a.at) == (result.select_last != 0) ? b : a;
  }
  if (a_nan || b_nan) return a_nan ? a : b;
  return (wants_largest(result) ? b.value > a.value : b.value < a.value) ? b : a;
}

// All lanes of a warp; each gets the result.
template <class Acc, bool kPositions>
__device__ Partial<Acc, kPositions> combine_warp(const ReduceResult& result,
                                                 Partial<Acc, kPositions> mine) {
  MINIINFER_UNROLL()
  for (int distance = 16; distance > 0; distance /= 2) {
    Partial<Acc, kPositions> other;
    other.value = __shfl_xor_sync(~0u, mine.value, distance);
    if constexpr (kPositions) other.at = __shfl_xor_sync(~0u, mine.at, distance);
    mine = combine(result, mine, other);
  }
  return mine;
}

template <class Acc>
__device__ void write_value(const ReduceResult& result, std::uint32_t o, Acc value) {
  const auto as = [&](auto tag) {
    using S = decltype(tag);
    store<S>(result.out, o, static_cast<Compute<S>>(value));
  };
  if constexpr (kIsFloating<Acc>) {
    if constexpr (sizeof(Acc) == 8) {
      as(double{});
    } else {
      if (result.dtype == MINIINFER_FLOAT32) as(float{});
      if (result.dtype == MINIINFER_FLOAT16) as(Float16{});
      if (result.dtype == MINIINFER_BFLOAT16) as(BFloat16{});
    }
  } else {  // the low bits are the same, signed or not
    switch (result.dtype) {
      case MINIINFER_BOOL:
        return as(Bool{});
      case MINIINFER_INT8:
      case MINIINFER_UINT8:
        return as(static_cast<unsigned char>(0));
      case MINIINFER_INT16:
      case MINIINFER_UINT16:
        return as(static_cast<unsigned short>(0));
      case MINIINFER_INT32:
      case MINIINFER_UINT32:
        return as(0u);
      default:
        return as(0ull);
    }
  }
}

// `count`: what a mean is divided by.
template <class Acc>
__device__ void write_result(const ReduceResult& result, std::uint32_t o,
                             const Partial<Acc, false>& total, std::int64_t count) {
  Acc value = total.value;
  if (result.kind == MINIINFER_REDUCE_MEAN) {
    if constexpr (kIsFloating<Acc>) {
      value /= static_cast<Acc>(count);  // 0 / 0 is NaN
    } else {
      value = count == 0 ? Acc{0} : value / static_cast<Acc>(count);
    }
  }
  write_value(result, o, value);
}

// `along`: the position in the window; `flat`: in the input.
template <class Acc>
__device__ void write_position(const ReduceResult& result, std::uint32_t o, Acc value,
                               std::int64_t along, std::int64_t flat) {
  if (result.kind >= MINIINFER_REDUCE_ARGMAX) {
    static_cast<std::int64_t*>(result.out)[o] = along;
    return;
  }
  write_value(result, o, value);
  if (result.positions != nullptr) result.positions[o] = flat;
}

struct Walked {
  std::int64_t step;
  std::int64_t flat;
};

template <bool kFlat>
__device__ Walked walk_to(const ReduceWalk& walk, std::uint32_t number) {
  Walked at{0, 0};
  MINIINFER_UNROLL(1)
  for (int axis = walk.rank - 1; axis >= 0; --axis) {
    const std::int64_t i = axis > 0 ? walk.divisors[axis].split(number) : number;
    at.step += i * walk.steps[axis];
    if (kFlat) at.flat += i * walk.flat[axis];
  }
  return at;
}

}  // namespace miniinfer::cuda
