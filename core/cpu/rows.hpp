#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>

#include "core/cpu/kernel.hpp"
#include "miniinfer/abi/base.h"

namespace miniinfer::cpu {

// A shape as [outer, length, inner] around an axis.
struct AxisSplit {
  std::int64_t outer = 1;
  std::int64_t length = 1;
  std::int64_t inner = 1;
};

inline AxisSplit split_at(const miniinfer_value& v, std::int32_t axis) {
  AxisSplit split;
  for (std::int32_t i = 0; i < v.rank; ++i) {
    (i < axis ? split.outer : i == axis ? split.length : split.inner) *= v.dims[i];
  }
  return split;
}

inline bool is_row_major(const miniinfer_value& v) {
  std::int64_t stride = 1;
  for (int axis = v.rank - 1; axis >= 0; --axis) {
    if (v.dims[axis] > 1 && v.strides[axis] != stride) return false;
    stride *= v.dims[axis];
  }
  return v.block <= 1;
}

inline bool same_shape(const miniinfer_value& a, const miniinfer_value& b) {
  if (a.rank != b.rank) return false;
  for (int axis = 0; axis < a.rank; ++axis) {
    if (a.dims[axis] != b.dims[axis]) return false;
  }
  return true;
}

inline bool is_real_float(int dtype) {
  return dtype == MINIINFER_FLOAT32 || dtype == MINIINFER_FLOAT64 || dtype == MINIINFER_FLOAT16 ||
         dtype == MINIINFER_BFLOAT16;
}

inline bool is_absent(const miniinfer_value& v) { return (v.flags & MINIINFER_VALUE_ABSENT) != 0; }

// Says why a region is not served.
__attribute__((format(printf, 2, 3))) inline miniinfer_code refuse_region(miniinfer_choice& choice,
                                                                          const char* text, ...) {
  va_list args;
  va_start(args, text);
  std::vsnprintf(choice.reason, sizeof choice.reason, text, args);
  va_end(args);
  return MINIINFER_UNSUPPORTED;
}

}  // namespace miniinfer::cpu
