#include "miniinfer/compare.hpp"

#include <cmath>
#include <cstring>

#include "core/base/float16.hpp"
#include "core/base/format.hpp"

namespace miniinfer {
namespace {

template <class T>
double load(const std::byte* bytes, std::size_t i) {
  T value;
  std::memcpy(&value, bytes + i * sizeof(T), sizeof(T));
  return static_cast<double>(value);
}

// A small float by its fields: `exponent_bits`, `mantissa_bits`, bias. How it says NaN and infinity
// differs from format to format, see below.
double small_float(std::uint32_t bits, int exponent_bits, int mantissa_bits, int bias) {
  const std::uint32_t mantissa = bits & ((1u << mantissa_bits) - 1);
  const int exponent = static_cast<int>((bits >> mantissa_bits) & ((1u << exponent_bits) - 1));
  const double sign = (bits >> (exponent_bits + mantissa_bits) & 1) != 0 ? -1.0 : 1.0;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1u << mantissa_bits), exponent - bias - mantissa_bits);
}

double float8(DataType type, std::uint32_t bits) {
  switch (type) {
    case DataType::Float8E4M3FN:
      return (bits & 0x7f) == 0x7f ? NAN : small_float(bits, 4, 3, 7);
    case DataType::Float8E4M3FNUZ:
      return bits == 0x80 ? NAN : small_float(bits, 4, 3, 8);
    case DataType::Float8E5M2:
      if ((bits & 0x7f) > 0x7c) return NAN;
      if ((bits & 0x7f) == 0x7c) return (bits & 0x80) != 0 ? -INFINITY : INFINITY;
      return small_float(bits, 5, 2, 15);
    case DataType::Float8E5M2FNUZ:
      return bits == 0x80 ? NAN : small_float(bits, 5, 2, 16);
    default:  // Float8E8M0: an exponent alone
      return bits == 0xff ? NAN : std::ldexp(1.0, static_cast<int>(bits) - 127);
  }
}

// Element i of a type narrower than a byte, the first in the low bits.
std::uint32_t packed(const std::byte* bytes, std::size_t i, std::uint32_t width) {
  const std::size_t bit = i * width;
  return static_cast<std::uint32_t>(bytes[bit / 8]) >> (bit % 8) & ((1u << width) - 1);
}

double signed_value(std::uint32_t bits, std::uint32_t width) {
  const auto value = static_cast<int>(bits);
  return bits >> (width - 1) != 0 ? value - (1 << width) : value;
}

double element(DataType type, const std::byte* bytes, std::size_t i) {
  switch (type) {
    case DataType::Float32:
      return load<float>(bytes, i);
    case DataType::Float64:
      return load<double>(bytes, i);
    case DataType::Int8:
      return load<std::int8_t>(bytes, i);
    case DataType::Int16:
      return load<std::int16_t>(bytes, i);
    case DataType::Int32:
      return load<std::int32_t>(bytes, i);
    case DataType::Int64:
      return load<std::int64_t>(bytes, i);
    case DataType::UInt8:
    case DataType::Bool:
      return load<std::uint8_t>(bytes, i);
    case DataType::UInt16:
      return load<std::uint16_t>(bytes, i);
    case DataType::UInt32:
      return load<std::uint32_t>(bytes, i);
    case DataType::UInt64:
      return load<std::uint64_t>(bytes, i);
    case DataType::Float16:
    case DataType::BFloat16: {
      std::uint16_t bits = 0;
      std::memcpy(&bits, bytes + i * 2, 2);
      return type == DataType::Float16 ? float_from_half(bits) : float_from_bfloat(bits);
    }
    case DataType::UInt4:
      return packed(bytes, i, 4);
    case DataType::UInt2:
      return packed(bytes, i, 2);
    case DataType::Int4:
      return signed_value(packed(bytes, i, 4), 4);
    case DataType::Int2:
      return signed_value(packed(bytes, i, 2), 2);
    case DataType::Float4E2M1:
      return small_float(packed(bytes, i, 4), 2, 1, 1);
    default:
      return float8(type, static_cast<std::uint32_t>(bytes[i]));
  }
}

Result<Comparison> compare_strings(const Tensor& got, const Tensor& want) {
  Comparison result;
  for (std::size_t i = 0; i < want.strings().size(); ++i) {
    if (got.strings()[i] == want.strings()[i]) continue;
    if (result.different++ == 0) result.worst = i;
  }
  result.equal = result.different == 0;
  return result;
}

}  // namespace

Result<std::vector<double>> to_doubles(const Tensor& tensor) {
  const DataType type = tensor.dtype();
  if (bits(type) == 0 || type == DataType::Complex64 || type == DataType::Complex128) {
    return Status(Code::Unsupported,
                  format("%s elements are no real numbers", to_string(type).data()));
  }
  Result<Tensor> host = tensor.to(Device());
  if (!host) return host.status();
  std::vector<double> values(static_cast<std::size_t>(host->element_count()));
  const std::byte* bytes = host->bytes().data();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = element(type, bytes, i);
  return values;
}

Result<Comparison> compare(const Tensor& got, const Tensor& want, double rtol, double atol) {
  if (got.type() != want.type()) {
    return Status(Code::InvalidArgument, format("got %s, want %s", to_string(got.type()).c_str(),
                                                to_string(want.type()).c_str()));
  }
  if (want.dtype() == DataType::String) return compare_strings(got, want);
  Result<Tensor> got_host = got.to(Device());
  Result<Tensor> want_host = want.to(Device());
  if (!got_host) return got_host.status();
  if (!want_host) return want_host.status();
  Comparison result;
  if (rtol == 0 && atol == 0 && is_integer(want.dtype()) && bits(want.dtype()) == 64) {
    // Doubles cannot tell all of these apart.
    const std::byte* a = got_host->bytes().data();
    const std::byte* b = want_host->bytes().data();
    for (std::uint64_t i = 0; i < want.element_count(); ++i) {
      if (std::memcmp(a + i * 8, b + i * 8, 8) == 0) continue;
      if (result.different++ == 0) result.worst = i;
    }
  }
  Result<std::vector<double>> a = to_doubles(*got_host);
  Result<std::vector<double>> b = to_doubles(*want_host);
  if (!a) return a.status();
  if (!b) return b.status();
  for (std::size_t i = 0; i < b->size(); ++i) {
    const double x = (*a)[i];
    const double y = (*b)[i];
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double error = std::abs(x - y);
    const bool outside = !(error <= atol + rtol * std::abs(y)) || std::isinf(y);
    if (outside && result.different++ == 0) result.worst = i;
    if (!std::isfinite(error)) continue;
    if (error > result.max_abs_error && result.different == 0) result.worst = i;
    result.max_abs_error = std::max(result.max_abs_error, error);
    if (y != 0) result.max_rel_error = std::max(result.max_rel_error, error / std::abs(y));
  }
  result.equal = result.different == 0;
  return result;
}

}  // namespace miniinfer
