#include "core/ops/narrow_types.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/ops/lowering.hpp"
#include "miniinfer/abi/op/gather.h"

namespace miniinfer {
namespace {

// A float format of sign, exponent and mantissa. Codes are without the sign.
struct Format {
  DataType type;
  int mantissa;
  int bias;
  int sign_bit;
  std::uint32_t largest;   // the largest finite number
  std::uint32_t overflow;  // what is beyond it becomes, unless it saturates
  std::uint32_t nan;
  bool negative_zero;
};

constexpr Format kFormats[] = {
    {DataType::Float8E4M3FN, 3, 7, 7, 0x7e, 0x7f, 0x7f, true},
    {DataType::Float8E4M3FNUZ, 3, 8, 7, 0x7f, 0x80, 0x80, false},
    {DataType::Float8E5M2, 2, 15, 7, 0x7b, 0x7c, 0x7e, true},
    {DataType::Float8E5M2FNUZ, 2, 16, 7, 0x7f, 0x80, 0x80, false},
    {DataType::Float4E2M1, 1, 1, 3, 7, 7, 8, true},
};

const Format* find_format(DataType type) {
  const auto* found = std::find_if(std::begin(kFormats), std::end(kFormats),
                                   [&](const Format& format) { return format.type == type; });
  return found != std::end(kFormats) ? found : nullptr;
}

bool is_signed_integer(DataType type) { return type == DataType::Int4 || type == DataType::Int2; }

float decode(const Format& format, std::uint32_t code) {
  const std::uint32_t magnitude = code & ((1u << format.sign_bit) - 1);
  const float sign = code == magnitude ? 1.0f : -1.0f;
  if (magnitude > format.largest || (!format.negative_zero && code == format.nan)) {
    const bool infinite = magnitude == format.overflow && format.overflow != format.nan;
    return infinite ? sign * std::numeric_limits<float>::infinity()
                    : std::numeric_limits<float>::quiet_NaN();
  }
  const auto fraction = static_cast<float>(magnitude & ((1u << format.mantissa) - 1));
  const int exponent = static_cast<int>(magnitude >> format.mantissa);
  const float unit = std::ldexp(1.0f, -format.mantissa);
  const float value = exponent == 0 ? std::ldexp(fraction * unit, 1 - format.bias)
                                    : std::ldexp(1 + fraction * unit, exponent - format.bias);
  return sign * value;
}

float decode(DataType type, std::uint32_t code) {
  if (const Format* format = find_format(type)) return decode(*format, code);
  if (type == DataType::Float8E8M0) {
    return code == 255 ? std::numeric_limits<float>::quiet_NaN()
                       : std::ldexp(1.0f, static_cast<int>(code) - 127);
  }
  const std::uint32_t half = 1u << (bits(type) - 1);
  const auto value = static_cast<float>(code);
  return is_signed_integer(type) && code >= half ? value - 2 * static_cast<float>(half) : value;
}

// How many of `count` elements are the k-th of their byte.
std::int64_t share(std::int64_t count, std::int64_t per, std::int64_t k) {
  return std::max<std::int64_t>((count - k + per - 1) / per, 0);
}

// uint8 [count] from what is packed.
ValueId unpack(LowerContext& context, ValueId value, std::int64_t count) {
  const std::int64_t width = bits(context.dtype_of(value));
  const std::int64_t per = 8 / width;
  const ValueId packed = context.view_as(value, DataType::UInt8, {(count + per - 1) / per});
  if (per == 1) return packed;
  std::vector<ValueId> parts;
  std::vector<CopyPiece> pieces;
  for (std::int64_t k = 0; k < per && share(count, per, k) > 0; ++k) {
    Formula f(context, {packed}, DataType::UInt8);
    const auto shifted =
        f.op(MINIINFER_PW_SHIFT_RIGHT, f.in(0), f.number(static_cast<double>(k * width)));
    const auto mask = f.number(static_cast<double>((1 << width) - 1));
    parts.push_back(f.finish(f.op(MINIINFER_PW_BIT_AND, shifted, mask), DataType::UInt8,
                             context.shape_of(packed)));
    pieces.push_back({static_cast<std::uint32_t>(k), 0, k, {share(count, per, k)}, {1}, {per}});
  }
  return emit_copy(context, std::move(parts), std::move(pieces), DataType::UInt8, {count});
}

ValueId pack(LowerContext& context, ValueId codes, DataType to, const Shape& shape) {
  const std::int64_t count = product(shape, 0, shape.size());
  const std::int64_t width = bits(to);
  const std::int64_t per = 8 / width;
  if (per == 1) return context.view_as(codes, to, shape);
  const std::int64_t bytes = (count + per - 1) / per;
  const ValueId flat = context.view(codes, {count});
  std::vector<ValueId> parts;
  for (std::int64_t k = 0; k < per && share(count, per, k) > 0; ++k) {
    const std::int64_t size = share(count, per, k);
    const ValueId part = emit_slice(context, flat, {k}, {size}, {per});
    parts.push_back(emit_pad(context, part, {0}, {bytes - size}, 0));
  }
  Formula f(context, parts, DataType::UInt8);
  auto sum = f.in(0);
  for (std::size_t k = 1; k < parts.size(); ++k) {
    const auto amount = f.number(static_cast<double>(static_cast<std::int64_t>(k) * width));
    sum = f.op(MINIINFER_PW_BIT_OR, sum, f.op(MINIINFER_PW_SHIFT_LEFT, f.in(k), amount));
  }
  return context.view_as(f.finish(sum, DataType::UInt8, {bytes}), to, shape);
}

// The code of a float32 given by its bits, rounded to nearest even.
Formula::Reg encode(Formula& f, const Format& format, bool saturate) {
  const auto number = [&](std::uint32_t value) { return f.number(value); };
  const auto bits = f.in(0);
  const auto x = f.op(MINIINFER_PW_BIT_AND, bits, number(0x7fffffff));
  const auto sign = f.op(MINIINFER_PW_SHIFT_LEFT, f.op(MINIINFER_PW_SHIFT_RIGHT, bits, number(31)),
                         number(static_cast<std::uint32_t>(format.sign_bit)));
  // The significand with its leading one, and the exponent it belongs to.
  const auto fraction = f.op(MINIINFER_PW_BIT_AND, x, number(0x7fffff));
  const auto normal = f.op(MINIINFER_PW_BIT_OR, fraction, number(0x800000));
  const auto is_subnormal = f.op(MINIINFER_PW_LESS, x, number(0x800000));
  const auto significand = f.op(MINIINFER_PW_SELECT, is_subnormal, x, normal);
  const auto exponent =
      f.op(MINIINFER_PW_MAX, f.op(MINIINFER_PW_SHIFT_RIGHT, x, number(23)), number(1));
  // Below the format's smallest exponent one more bit is dropped for each step.
  const auto smallest = number(static_cast<std::uint32_t>(128 - format.bias));
  const auto top = f.op(MINIINFER_PW_MAX, exponent, smallest);
  const auto drop = f.op(MINIINFER_PW_ADD, f.op(MINIINFER_PW_SUB, top, exponent),
                         number(static_cast<std::uint32_t>(23 - format.mantissa)));
  const auto half =
      f.op(MINIINFER_PW_SHIFT_LEFT, number(1), f.op(MINIINFER_PW_SUB, drop, number(1)));
  const auto odd =
      f.op(MINIINFER_PW_BIT_AND, f.op(MINIINFER_PW_SHIFT_RIGHT, significand, drop), number(1));
  const auto below_half = f.op(MINIINFER_PW_SUB, half, number(1));
  const auto raised = f.op(MINIINFER_PW_ADD, f.op(MINIINFER_PW_ADD, significand, below_half), odd);
  const auto rounded = f.op(MINIINFER_PW_SHIFT_RIGHT, raised, drop);
  // The leading one, and a carry of the rounding, count as a step of the exponent.
  const auto steps = f.op(MINIINFER_PW_SHIFT_LEFT, f.op(MINIINFER_PW_SUB, top, smallest),
                          number(static_cast<std::uint32_t>(format.mantissa)));
  auto code = f.op(MINIINFER_PW_ADD, steps, rounded);
  code = f.op(MINIINFER_PW_SELECT, f.op(MINIINFER_PW_LESS, number(format.largest), code),
              number(saturate ? format.largest : format.overflow), code);
  const auto with_sign = f.op(MINIINFER_PW_BIT_OR, code, sign);
  code = format.negative_zero ? with_sign
                              : f.op(MINIINFER_PW_SELECT, f.op(MINIINFER_PW_EQUAL, code, number(0)),
                                     number(0), with_sign);
  const auto is_nan = f.op(MINIINFER_PW_LESS, number(0x7f800000), x);
  return f.op(MINIINFER_PW_SELECT, is_nan, f.op(MINIINFER_PW_BIT_OR, number(format.nan), sign),
              code);
}

// FLOAT8E8M0 is the exponent of a float32 alone.
Formula::Reg encode_exponent(Formula& f, bool saturate, std::string_view round_mode) {
  const auto x = f.op(MINIINFER_PW_BIT_AND, f.in(0), f.number(0x7fffffff));
  auto raised = x;
  if (round_mode == "up") raised = f.op(MINIINFER_PW_ADD, x, f.number(0x7fffff));
  if (round_mode == "nearest") {
    // Half a step counts, but for the smallest exponent, where it is the number itself.
    const auto is_smallest = f.op(MINIINFER_PW_LESS, x, f.number(0x800000));
    const auto half =
        f.op(MINIINFER_PW_SELECT, is_smallest, f.number(0x3fffff), f.number(0x400000));
    raised = f.op(MINIINFER_PW_ADD, x, half);
  }
  const auto code = f.op(MINIINFER_PW_MIN, f.op(MINIINFER_PW_SHIFT_RIGHT, raised, f.number(23)),
                         f.number(saturate ? 254 : 255));
  const auto is_nan = f.op(MINIINFER_PW_LESS, f.number(0x7f800000), x);
  return f.op(MINIINFER_PW_SELECT, is_nan, f.number(255), code);
}

}  // namespace

bool is_narrow_type(DataType type) {
  switch (type) {
    case DataType::Float8E8M0:
    case DataType::UInt4:
    case DataType::Int4:
    case DataType::UInt2:
    case DataType::Int2:
      return true;
    default:
      return find_format(type) != nullptr;
  }
}

ValueId emit_widen(LowerContext& context, ValueId value) {
  const DataType from = context.dtype_of(value);
  const Shape shape = context.shape_of(value);
  const std::int64_t count = product(shape, 0, shape.size());
  std::vector<float> table;
  for (std::uint32_t code = 0; code < 1u << bits(from); ++code) {
    table.push_back(decode(from, code));
  }
  const ValueId numbers = context.constant_value(
      make_constant({DataType::Float32, {static_cast<std::int64_t>(table.size())}},
                    std::as_bytes(std::span(table))));
  const ValueId codes = emit_cast(context, unpack(context, value, count), DataType::Int32);
  miniinfer_gather_attrs attrs{};
  attrs.mode = MINIINFER_GATHER_AXIS;
  const ValueId wide = context.emit(MINIINFER_GATHER, make_attrs(attrs), {numbers, codes},
                                    DataType::Float32, {count});
  return context.view(wide, shape);
}

ValueId emit_narrow(LowerContext& context, ValueId value, DataType to, bool saturate,
                    std::string_view round_mode) {
  const Shape shape = context.shape_of(value);
  const DataType from = context.dtype_of(value);
  ValueId codes = kNoValue;
  if (is_integer(to)) {
    const ValueId whole = is_float(from) ? emit_cast(context, value, DataType::Int32) : value;
    codes = emit_scalar(context, MINIINFER_PW_BIT_AND, emit_cast(context, whole, DataType::UInt8),
                        (1 << bits(to)) - 1);
  } else {
    const ValueId single = emit_cast(context, value, DataType::Float32);
    Formula f(context, {context.view_as(single, DataType::UInt32, shape)}, DataType::UInt32);
    const Format* format = find_format(to);
    const auto code =
        format != nullptr ? encode(f, *format, saturate) : encode_exponent(f, saturate, round_mode);
    codes = f.finish(code, DataType::UInt8, shape);
  }
  return pack(context, codes, to, shape);
}

}  // namespace miniinfer
