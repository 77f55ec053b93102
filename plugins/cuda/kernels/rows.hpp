#pragma once

// What the kernels that work along one axis ask of their operands.

#include <algorithm>
#include <cstdint>
#include <limits>

#include "miniinfer/sdk/region.hpp"

namespace miniinfer::cuda {

// Blocks that a launch may have along x, less one.
inline constexpr std::int64_t kMostRows = std::numeric_limits<std::int32_t>::max();

// A shape as [outer, length, inner] around an axis.
struct AxisSplit {
  std::int64_t outer = 1;
  std::int64_t length = 1;
  std::int64_t inner = 1;
};

inline AxisSplit split_at(const miniinfer_value& value, std::int32_t axis) {
  AxisSplit split;
  for (std::int32_t i = 0; i < value.rank; ++i) {
    (i < axis ? split.outer : i == axis ? split.length : split.inner) *= value.dims[i];
  }
  return split;
}

inline std::int64_t elements(const miniinfer_value& value) {
  return sdk::element_count(sdk::dims(value));
}

// Row-major without gaps; nothing is asked of strides that are never used.
inline bool is_dense(const miniinfer_value& value) {
  return value.block <= 1 && (elements(value) == 0 || sdk::is_contiguous(value));
}

inline bool same_shape(const miniinfer_value& a, const miniinfer_value& b) {
  return std::ranges::equal(sdk::dims(a), sdk::dims(b));
}

inline bool is_real_float(miniinfer_dtype dtype) {
  return dtype == MINIINFER_FLOAT32 || dtype == MINIINFER_FLOAT64 || dtype == MINIINFER_FLOAT16 ||
         dtype == MINIINFER_BFLOAT16;
}

inline bool is_numeric(miniinfer_dtype dtype) {
  return dtype >= 0 && dtype < MINIINFER_DTYPE_COUNT && (sdk::kNumericTypes >> dtype & 1) != 0;
}

// Whether the node has such an operand and it was not left out.
inline bool has_in(const sdk::Region& region, std::uint32_t i) {
  return i < region.in_count() && !sdk::is_absent(region.in(i));
}
inline bool has_out(const sdk::Region& region, std::uint32_t i) {
  return i < region.out_count() && !sdk::is_absent(region.out(i));
}
// -1 for one that was left out.
inline int arg_of_out(const sdk::Region& region, std::uint32_t i) {
  return has_out(region, i) ? region.arg_out(i) : -1;
}

}  // namespace miniinfer::cuda
