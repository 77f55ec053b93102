#pragma once

// Operands as kernels see them: plain structs that are made on the host and passed by value.

#include <cstdint>

#include "miniinfer/abi/op.h"
#include "plugins/cuda/kernels/number.hpp"

namespace miniinfer::cuda {

inline constexpr int kMaxRank = MINIINFER_MAX_RANK;

struct Operand {
  std::int32_t dtype = MINIINFER_UNDEFINED;
  std::int32_t rank = 0;
  std::int64_t dims[kMaxRank] = {};
  std::int64_t strides[kMaxRank] = {};  // in elements
  std::int64_t count = 0;               // of elements; 0 for an operand that was left out
  bool contiguous = true;               // row-major without gaps
  bool absent = false;
};

// Rank at most kMaxRank, not in blocks: test both in support().
inline Operand make_operand(const miniinfer_value& value) {
  Operand operand;
  operand.dtype = value.dtype;
  operand.absent = (value.flags & MINIINFER_VALUE_ABSENT) != 0;
  if (operand.absent) return operand;
  operand.rank = value.rank;
  operand.count = 1;
  for (int axis = value.rank - 1; axis >= 0; --axis) {
    operand.dims[axis] = value.dims[axis];
    operand.strides[axis] = value.strides[axis];
    if (value.dims[axis] != 1 && value.strides[axis] != operand.count) operand.contiguous = false;
    operand.count *= value.dims[axis];
  }
  return operand;
}

// How many elements lie between the base and the end of what strides from 0 on reach.
inline std::int64_t extent(const Operand& operand) {
  if (operand.count == 0) return 0;
  std::int64_t last = 0;
  for (int axis = 0; axis < operand.rank; ++axis) {
    if (operand.strides[axis] > 0) last += (operand.dims[axis] - 1) * operand.strides[axis];
  }
  return last + 1;
}

// Axes that several operands are walked along together: strides[k] are operand k's.
template <int kOperands>
struct Axes {
  int rank = 0;
  std::int64_t dims[kMaxRank] = {};
  std::int64_t strides[kOperands][kMaxRank] = {};

  // Adds an inner axis; axes of size 1 vanish.
  void push(std::int64_t dim, const std::int64_t* steps, int operands = kOperands) {
    if (dim == 1) return;
    dims[rank] = dim;
    for (int k = 0; k < operands; ++k) strides[k][rank] = steps[k];
    ++rank;
  }

  // Joins neighbours that every one of the first `operands` operands walks through as one.
  void merge(int operands = kOperands) {
    int kept = 0;
    for (int axis = 1; axis < rank; ++axis) {
      bool joins = true;
      for (int k = 0; k < operands; ++k) {
        joins = joins && strides[k][kept] == strides[k][axis] * dims[axis];
      }
      if (!joins) ++kept;
      dims[kept] = joins ? dims[kept] * dims[axis] : dims[axis];
      for (int k = 0; k < operands; ++k) strides[k][kept] = strides[k][axis];
    }
    if (rank > 0) rank = kept + 1;
  }

  std::int64_t count() const {
    std::int64_t elements = 1;
    for (int axis = 0; axis < rank; ++axis) elements *= dims[axis];
    return elements;
  }
};

// The position of element `linear` (row-major over `divisors`) under one operand's strides.
MINIINFER_HD std::int64_t unravel(unsigned linear, int rank, const FastDivisor* divisors,
                                  const std::int64_t* strides) {
  std::int64_t offset = 0;
  for (int axis = rank - 1; axis > 0; --axis) {
    offset += static_cast<std::int64_t>(divisors[axis].split(linear)) * strides[axis];
  }
  return rank > 0 ? offset + static_cast<std::int64_t>(linear) * strides[0] : offset;
}

// The same where there may be 2^31 elements or more.
MINIINFER_HD std::int64_t unravel_wide(std::int64_t linear, int rank, const std::int64_t* dims,
                                       const std::int64_t* strides) {
  std::int64_t offset = 0;
  for (int axis = rank - 1; axis > 0; --axis) {
    const std::int64_t quotient = linear / dims[axis];
    offset += (linear - quotient * dims[axis]) * strides[axis];
    linear = quotient;
  }
  return rank > 0 ? offset + linear * strides[0] : offset;
}

inline constexpr std::int64_t kSmall = std::int64_t{1} << 31;  // below: 32-bit indices do

}  // namespace miniinfer::cuda
