#include "miniinfer/data_type.hpp"

#include <array>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"

namespace miniinfer {
namespace {

enum Kind : std::uint8_t { kOther, kFloat, kInteger };

struct TypeInfo {
  std::string_view name;
  std::uint8_t bits;
  Kind kind;
};

constexpr std::array<TypeInfo, 27> kTypes = {{
    {"undefined", 0, kOther},      {"float32", 32, kFloat},   {"uint8", 8, kInteger},
    {"int8", 8, kInteger},         {"uint16", 16, kInteger},  {"int16", 16, kInteger},
    {"int32", 32, kInteger},       {"int64", 64, kInteger},   {"string", 0, kOther},
    {"bool", 8, kOther},           {"float16", 16, kFloat},   {"float64", 64, kFloat},
    {"uint32", 32, kInteger},      {"uint64", 64, kInteger},  {"complex64", 64, kOther},
    {"complex128", 128, kOther},   {"bfloat16", 16, kFloat},  {"float8e4m3fn", 8, kFloat},
    {"float8e4m3fnuz", 8, kFloat}, {"float8e5m2", 8, kFloat}, {"float8e5m2fnuz", 8, kFloat},
    {"uint4", 4, kInteger},        {"int4", 4, kInteger},     {"float4e2m1", 4, kFloat},
    {"float8e8m0", 8, kFloat},     {"uint2", 2, kInteger},    {"int2", 2, kInteger},
}};

const TypeInfo& info(DataType type) {
  const auto index = static_cast<std::uint32_t>(type);
  return kTypes[index < kTypes.size() ? index : 0];
}

}  // namespace

std::string_view to_string(DataType type) noexcept { return info(type).name; }

DataType data_type_from(std::string_view name) noexcept {
  for (std::size_t i = 1; i < kTypes.size(); ++i) {
    if (kTypes[i].name == name) return static_cast<DataType>(i);
  }
  return DataType::Undefined;
}

std::uint32_t bits(DataType type) noexcept { return info(type).bits; }
bool is_float(DataType type) noexcept { return info(type).kind == kFloat; }
bool is_integer(DataType type) noexcept { return info(type).kind == kInteger; }

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ',';
    text += shape[i] == -1 ? "?" : std::to_string(shape[i]);
  }
  return text + "]";
}

std::string to_string(const TensorType& type) {
  return std::string(to_string(type.dtype)) + to_string(type.shape);
}

Result<std::uint64_t> element_count(const Shape& shape) {
  constexpr std::uint64_t kMost = (std::uint64_t{1} << 63) - 1;
  // A zero anywhere makes the tensor empty, but the others must still make sense.
  std::uint64_t count = 1;
  bool empty = false;
  for (const std::int64_t dim : shape) {
    if (dim < 0) {
      return Status(Code::InvalidArgument,
                    format("shape %s has a negative size", to_string(shape).c_str()));
    }
    if (dim == 0) {
      empty = true;
    } else if (!checked_mul(count, static_cast<std::uint64_t>(dim), &count) || count > kMost) {
      return Status(Code::LimitExceeded,
                    format("shape %s has more than 2^63 elements", to_string(shape).c_str()));
    }
  }
  return empty ? 0 : count;
}

Result<std::uint64_t> byte_count(DataType type, const Shape& shape) {
  Result<std::uint64_t> count = element_count(shape);
  if (!count) return count;
  std::uint64_t total = 0;
  if (!checked_mul(*count, std::uint64_t{bits(type)}, &total) || total > ~std::uint64_t{7}) {
    return Status(Code::LimitExceeded,
                  format("%s%s does not fit in memory", std::string(to_string(type)).c_str(),
                         to_string(shape).c_str()));
  }
  return (total + 7) / 8;
}

}  // namespace miniinfer
