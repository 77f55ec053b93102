#pragma once

#include <cstdint>

#include "core/base/float16.hpp"
#include "miniinfer/abi/base.h"

namespace miniinfer::cpu {

// A float type's bits as an element that compares by its value.
struct HalfElement {
  std::uint16_t bits;
  operator float() const { return float_from_half(bits); }  // NOLINT
};
struct BFloatElement {
  std::uint16_t bits;
  operator float() const { return float_from_bfloat(bits); }  // NOLINT
};

// Calls f(T{}) with the C++ type of the elements; false where there is none.
template <class F>
bool with_element_type(int dtype, F&& f) {
  switch (dtype) {
    case MINIINFER_FLOAT32:
      f(float{});
      return true;
    case MINIINFER_FLOAT64:
      f(double{});
      return true;
    case MINIINFER_FLOAT16:
      f(HalfElement{});
      return true;
    case MINIINFER_BFLOAT16:
      f(BFloatElement{});
      return true;
    case MINIINFER_INT8:
      f(std::int8_t{});
      return true;
    case MINIINFER_INT16:
      f(std::int16_t{});
      return true;
    case MINIINFER_INT32:
      f(std::int32_t{});
      return true;
    case MINIINFER_INT64:
      f(std::int64_t{});
      return true;
    case MINIINFER_UINT8:
    case MINIINFER_BOOL:
      f(std::uint8_t{});
      return true;
    case MINIINFER_UINT16:
      f(std::uint16_t{});
      return true;
    case MINIINFER_UINT32:
      f(std::uint32_t{});
      return true;
    case MINIINFER_UINT64:
      f(std::uint64_t{});
      return true;
    default:
      return false;
  }
}

}  // namespace miniinfer::cpu
