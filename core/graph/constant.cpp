#include "core/graph/constant.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/base/float16.hpp"

namespace miniinfer {
namespace {

template <class T>
T load(std::span<const std::byte> bytes, std::size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

template <class T, class Out>
void append_all(std::span<const std::byte> bytes, std::vector<Out>& out) {
  const std::size_t count = bytes.size() / sizeof(T);
  out.reserve(count);
  for (std::size_t i = 0; i < count; ++i) out.push_back(static_cast<Out>(load<T>(bytes, i)));
}

// Elements of the integer types of a byte or more, and bool, converted to Out.
template <class Out>
bool append_integers(const Constant& constant, std::vector<Out>& out) {
  switch (constant.type.dtype) {
    case DataType::Int8:
      append_all<std::int8_t>(constant.bytes, out);
      return true;
    case DataType::Int16:
      append_all<std::int16_t>(constant.bytes, out);
      return true;
    case DataType::Int32:
      append_all<std::int32_t>(constant.bytes, out);
      return true;
    case DataType::Int64:
      append_all<std::int64_t>(constant.bytes, out);
      return true;
    case DataType::Bool:
    case DataType::UInt8:
      append_all<std::uint8_t>(constant.bytes, out);
      return true;
    case DataType::UInt16:
      append_all<std::uint16_t>(constant.bytes, out);
      return true;
    case DataType::UInt32:
      append_all<std::uint32_t>(constant.bytes, out);
      return true;
    case DataType::UInt64:
      append_all<std::uint64_t>(constant.bytes, out);
      return true;
    default:
      return false;
  }
}

template <class T>
void store(std::byte* out, double value) {
  T converted{};
  if constexpr (std::is_integral_v<T>) {
    // Beyond the type's range: the nearest end. (2^63 is the least double that int64 does not
    // hold.)
    const auto low = static_cast<double>(std::numeric_limits<T>::min());
    const auto high = static_cast<double>(std::numeric_limits<T>::max());
    converted = std::isnan(value) ? T{0}
                : value <= low    ? std::numeric_limits<T>::min()
                : value >= high   ? std::numeric_limits<T>::max()
                                  : static_cast<T>(value);
  } else {
    converted = static_cast<T>(value);
  }
  std::memcpy(out, &converted, sizeof converted);
}

}  // namespace

std::vector<std::int64_t> Constant::as_ints() const {
  std::vector<std::int64_t> values;
  append_integers(*this, values);
  return values;
}

std::vector<double> Constant::as_doubles() const {
  std::vector<double> values;
  switch (type.dtype) {
    case DataType::Float32:
      append_all<float>(bytes, values);
      break;
    case DataType::Float64:
      append_all<double>(bytes, values);
      break;
    case DataType::Float16:
    case DataType::BFloat16:
      for (std::size_t i = 0; i < bytes.size() / 2; ++i) {
        const auto bits = load<std::uint16_t>(bytes, i);
        values.push_back(type.dtype == DataType::Float16 ? float_from_half(bits)
                                                         : float_from_bfloat(bits));
      }
      break;
    default:
      append_integers(*this, values);
  }
  return values;
}

ConstantPtr make_constant(TensorType type, std::span<const std::byte> bytes) {
  auto storage = std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end());
  auto constant = std::make_shared<Constant>();
  constant->type = std::move(type);
  constant->bytes = *storage;
  constant->keep = std::move(storage);
  return constant;
}

ConstantPtr make_constant_ints(std::span<const std::int64_t> values) {
  return make_constant({DataType::Int64, {static_cast<std::int64_t>(values.size())}},
                       std::as_bytes(values));
}

ConstantPtr make_constant_scalar(DataType type, double value) {
  std::byte bytes[8] = {};
  switch (type) {
    case DataType::Float32:
      store<float>(bytes, value);
      break;
    case DataType::Float64:
      store<double>(bytes, value);
      break;
    case DataType::Int8:
      store<std::int8_t>(bytes, value);
      break;
    case DataType::Int16:
      store<std::int16_t>(bytes, value);
      break;
    case DataType::Int32:
      store<std::int32_t>(bytes, value);
      break;
    case DataType::Int64:
      store<std::int64_t>(bytes, value);
      break;
    case DataType::Bool:
      store<std::uint8_t>(bytes, value != 0 ? 1 : 0);
      break;
    case DataType::UInt8:
      store<std::uint8_t>(bytes, value);
      break;
    case DataType::UInt16:
      store<std::uint16_t>(bytes, value);
      break;
    case DataType::UInt32:
      store<std::uint32_t>(bytes, value);
      break;
    case DataType::UInt64:
      store<std::uint64_t>(bytes, value);
      break;
    case DataType::Float16:
    case DataType::BFloat16: {
      const auto narrow = static_cast<float>(value);
      const std::uint16_t bits =
          type == DataType::Float16 ? half_from_float(narrow) : bfloat_from_float(narrow);
      std::memcpy(bytes, &bits, sizeof bits);
      break;
    }
    default:
      break;
  }
  return make_constant({type, {}}, std::span<const std::byte>(bytes, bits(type) / 8));
}

}  // namespace miniinfer
