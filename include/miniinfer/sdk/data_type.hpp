#pragma once

// Names and sizes of element types, and sets of them.

#include <cstdint>
#include <initializer_list>

#include "miniinfer/abi/base.h"

namespace miniinfer::sdk {

// Bytes of one element; 0 for types that share a byte and for numbers that are no type.
constexpr std::uint32_t element_bytes(miniinfer_dtype dtype) noexcept {
  constexpr std::uint8_t kBytes[MINIINFER_DTYPE_COUNT] = {0, 4,  1, 1, 2, 2, 4, 8, 8, 1, 2, 8, 4, 8,
                                                          8, 16, 2, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0};
  return dtype >= 0 && dtype < MINIINFER_DTYPE_COUNT ? kBytes[dtype] : 0;
}

constexpr const char* dtype_name(miniinfer_dtype dtype) noexcept {
  constexpr const char* kNames[MINIINFER_DTYPE_COUNT] = {
      "undefined",      "float32",  "uint8",        "int8",           "uint16",
      "int16",          "int32",    "int64",        "string",         "bool",
      "float16",        "float64",  "uint32",       "uint64",         "complex64",
      "complex128",     "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2",
      "float8e5m2fnuz", "uint4",    "int4",         "float4e2m1",     "float8e8m0",
      "uint2",          "int2"};
  return dtype >= 0 && dtype < MINIINFER_DTYPE_COUNT ? kNames[dtype] : "unknown";
}

// A set of element types as device_info and the operator table want it: bit n is type n.
constexpr std::uint64_t dtype_set(std::initializer_list<miniinfer_dtype> dtypes) noexcept {
  std::uint64_t set = 0;
  for (const miniinfer_dtype dtype : dtypes) set |= std::uint64_t{1} << dtype;
  return set;
}

// Everything one can calculate with and that is at least a byte wide.
inline constexpr std::uint64_t kNumericTypes =
    dtype_set({MINIINFER_FLOAT32, MINIINFER_UINT8, MINIINFER_INT8, MINIINFER_UINT16,
               MINIINFER_INT16, MINIINFER_INT32, MINIINFER_INT64, MINIINFER_BOOL, MINIINFER_FLOAT16,
               MINIINFER_FLOAT64, MINIINFER_UINT32, MINIINFER_UINT64, MINIINFER_BFLOAT16});

}  // namespace miniinfer::sdk
