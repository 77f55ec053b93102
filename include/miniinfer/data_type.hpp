#pragma once

// Element types and shapes.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/status.hpp"

namespace miniinfer {

// The numbers are those of ONNX's TensorProto.DataType and of abi/base.h.
enum class DataType : std::int32_t {
  Undefined = 0,
  Float32 = 1,
  UInt8 = 2,
  Int8 = 3,
  UInt16 = 4,
  Int16 = 5,
  Int32 = 6,
  Int64 = 7,
  String = 8,
  Bool = 9,
  Float16 = 10,
  Float64 = 11,
  UInt32 = 12,
  UInt64 = 13,
  Complex64 = 14,
  Complex128 = 15,
  BFloat16 = 16,
  Float8E4M3FN = 17,
  Float8E4M3FNUZ = 18,
  Float8E5M2 = 19,
  Float8E5M2FNUZ = 20,
  UInt4 = 21,
  Int4 = 22,
  Float4E2M1 = 23,
  Float8E8M0 = 24,
  UInt2 = 25,
  Int2 = 26,
};

// Sizes along each axis, outermost first; empty for a scalar. -1 stands for a size not known yet,
// where a function says that it may.
using Shape = std::vector<std::int64_t>;

// "float32"; "undefined" for what is no type.
MINIINFER_API std::string_view to_string(DataType type) noexcept;
// The type of that name, or Undefined.
MINIINFER_API DataType data_type_from(std::string_view name) noexcept;
// Bits to one element: 32 for Float32, 4 for Int4; 0 for String and Undefined.
MINIINFER_API std::uint32_t bits(DataType type) noexcept;
MINIINFER_API bool is_float(DataType type) noexcept;    // any width
MINIINFER_API bool is_integer(DataType type) noexcept;  // any width; not Bool

// "[1,3,224,224]"; a size of -1 is shown as "?".
MINIINFER_API std::string to_string(const Shape& shape);

// How many elements; INVALID_ARGUMENT for a negative size, LIMIT_EXCEEDED where the number or the
// bytes would not fit in 63 bits.
MINIINFER_API Result<std::uint64_t> element_count(const Shape& shape);
// How many bytes they take, packed and row-major.
MINIINFER_API Result<std::uint64_t> byte_count(DataType type, const Shape& shape);

// The DataType of a C++ type: float, double, the fixed-width integers, bool.
template <class T>
inline constexpr DataType data_type_of = DataType::Undefined;
template <>
inline constexpr DataType data_type_of<float> = DataType::Float32;
template <>
inline constexpr DataType data_type_of<double> = DataType::Float64;
template <>
inline constexpr DataType data_type_of<std::int8_t> = DataType::Int8;
template <>
inline constexpr DataType data_type_of<std::int16_t> = DataType::Int16;
template <>
inline constexpr DataType data_type_of<std::int32_t> = DataType::Int32;
template <>
inline constexpr DataType data_type_of<std::int64_t> = DataType::Int64;
template <>
inline constexpr DataType data_type_of<std::uint8_t> = DataType::UInt8;
template <>
inline constexpr DataType data_type_of<std::uint16_t> = DataType::UInt16;
template <>
inline constexpr DataType data_type_of<std::uint32_t> = DataType::UInt32;
template <>
inline constexpr DataType data_type_of<std::uint64_t> = DataType::UInt64;
template <>
inline constexpr DataType data_type_of<bool> = DataType::Bool;

struct TensorType {
  DataType dtype = DataType::Undefined;
  Shape shape;
  friend bool operator==(const TensorType&, const TensorType&) = default;
};

// "float32[1,10]"
MINIINFER_API std::string to_string(const TensorType& type);

}  // namespace miniinfer
