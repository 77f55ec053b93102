#pragma once

// What one instruction of a pointwise program does to one element.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "miniinfer/abi/op/pointwise.h"
#include "miniinfer/sdk/reference/convert.hpp"
#include "miniinfer/sdk/reference/fault.hpp"

namespace miniinfer::sdk::reference {

// Functions of one real argument; everything narrower than float64 takes them in double, then
// rounds.
inline bool is_function(std::uint16_t op) noexcept {
  return (op >= MINIINFER_PW_SQRT && op <= MINIINFER_PW_SOFTPLUS) && op != MINIINFER_PW_RECIPROCAL;
}

inline double function(std::uint16_t op, double x) noexcept {
  switch (op) {
    case MINIINFER_PW_SQRT:
      return std::sqrt(x);
    case MINIINFER_PW_RSQRT:
      return 1.0 / std::sqrt(x);
    case MINIINFER_PW_EXP:
      return std::exp(x);
    case MINIINFER_PW_LOG:
      return std::log(x);
    case MINIINFER_PW_SIN:
      return std::sin(x);
    case MINIINFER_PW_COS:
      return std::cos(x);
    case MINIINFER_PW_TAN:
      return std::tan(x);
    case MINIINFER_PW_ASIN:
      return std::asin(x);
    case MINIINFER_PW_ACOS:
      return std::acos(x);
    case MINIINFER_PW_ATAN:
      return std::atan(x);
    case MINIINFER_PW_SINH:
      return std::sinh(x);
    case MINIINFER_PW_COSH:
      return std::cosh(x);
    case MINIINFER_PW_TANH:
      return std::tanh(x);
    case MINIINFER_PW_ASINH:
      return std::asinh(x);
    case MINIINFER_PW_ACOSH:
      return std::acosh(x);
    case MINIINFER_PW_ATANH:
      return std::atanh(x);
    case MINIINFER_PW_ERF:
      return std::erf(x);
    case MINIINFER_PW_SIGMOID:
      return x >= 0 ? 1.0 / (1.0 + std::exp(-x)) : std::exp(x) / (1.0 + std::exp(x));
    default:  // MINIINFER_PW_SOFTPLUS
      return std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
  }
}

// Python's %: the result has the divisor's sign, also where it is zero.
template <class T>
T floor_mod(T a, T b) noexcept {
  if constexpr (std::is_floating_point_v<T>) {
    const T rest = std::fmod(a, b);
    if (rest == 0) return std::copysign(T{0}, b);
    return (rest < 0) != (b < 0) ? rest + b : rest;
  } else {
    const T rest = static_cast<T>(a % b);
    return static_cast<T>(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
  }
}

// Integers modulo 2^64, cut to T afterwards: that is wrapping.
template <class T>
T wrapping_pow(T base, T exponent) noexcept {
  std::uint64_t power = 1;
  auto factor = static_cast<std::uint64_t>(base);
  for (auto rest = static_cast<std::uint64_t>(exponent); rest != 0; rest >>= 1) {
    if ((rest & 1) != 0) power *= factor;
    factor *= factor;
  }
  return static_cast<T>(power);
}

// DIV, MOD, FMOD and POW of integers: those that meet zero.
template <class T>
T integer_quotient(std::uint16_t op, T a, T b, const FaultSink& fault) noexcept {
  const bool negative = std::is_signed_v<T> && b < 0;
  if (op == MINIINFER_PW_POW && !negative) return wrapping_pow(a, b);
  const T divisor = op == MINIINFER_PW_POW ? a : b;
  if (divisor == 0) {
    fault.report(MINIINFER_FAULT_DIVIDE, static_cast<std::int64_t>(a),
                 static_cast<std::int64_t>(b));
    return 0;
  }
  if (op == MINIINFER_PW_POW) {  // 1 / a^-b, which is 0 but for 1 and -1
    if (a == 1) return 1;
    if (std::is_signed_v<T> && a == static_cast<T>(-1)) return (b & 1) != 0 ? a : T{1};
    return 0;
  }
  if (negative && b == static_cast<T>(-1)) {  // INT_MIN / -1 traps
    return op == MINIINFER_PW_DIV ? static_cast<T>(0 - static_cast<std::uint64_t>(a)) : T{0};
  }
  if (op == MINIINFER_PW_DIV) return static_cast<T>(a / b);
  return op == MINIINFER_PW_MOD ? floor_mod(a, b) : static_cast<T>(a % b);
}

template <class T>
T integer_instruction(std::uint16_t op, T a, T b, T c, const FaultSink& fault) noexcept {
  using U = std::uint64_t;  // modulo 2^64 is modulo every smaller power too
  constexpr U kWidth = sizeof(T) * 8;
  const auto shift = static_cast<U>(std::make_unsigned_t<T>(b));
  const auto logical = static_cast<U>(std::make_unsigned_t<T>(a));
  switch (op) {
    case MINIINFER_PW_COPY:
    case MINIINFER_PW_FLOOR:
    case MINIINFER_PW_CEIL:
    case MINIINFER_PW_ROUND:
      return a;
    case MINIINFER_PW_NEG:
      return static_cast<T>(0 - static_cast<U>(a));
    case MINIINFER_PW_ABS:
      return a < 0 ? static_cast<T>(0 - static_cast<U>(a)) : a;
    case MINIINFER_PW_SIGN:
      return static_cast<T>((a > 0) - (a < 0));
    case MINIINFER_PW_RECIPROCAL:
      return integer_quotient(MINIINFER_PW_DIV, T{1}, a, fault);
    case MINIINFER_PW_NOT:
      return a == 0;
    case MINIINFER_PW_BIT_NOT:
      return static_cast<T>(~a);
    case MINIINFER_PW_ADD:
      return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
    case MINIINFER_PW_SUB:
      return static_cast<T>(static_cast<U>(a) - static_cast<U>(b));
    case MINIINFER_PW_MUL:
      return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
    case MINIINFER_PW_FMA:
      return static_cast<T>(static_cast<U>(a) * static_cast<U>(b) + static_cast<U>(c));
    case MINIINFER_PW_MIN:
      return b < a ? b : a;
    case MINIINFER_PW_MAX:
      return b > a ? b : a;
    case MINIINFER_PW_AND:
    case MINIINFER_PW_BIT_AND:
      return static_cast<T>(a & b);
    case MINIINFER_PW_OR:
    case MINIINFER_PW_BIT_OR:
      return static_cast<T>(a | b);
    case MINIINFER_PW_XOR:
    case MINIINFER_PW_BIT_XOR:
      return static_cast<T>(a ^ b);
    case MINIINFER_PW_SHIFT_LEFT:
      return shift >= kWidth ? T{0} : static_cast<T>(logical << shift);
    case MINIINFER_PW_SHIFT_RIGHT:
      return shift >= kWidth ? T{0} : static_cast<T>(logical >> shift);
    default:  // DIV, MOD, FMOD, POW
      return integer_quotient(op, a, b, fault);
  }
}

template <class T>
T float_instruction(std::uint16_t op, T a, T b, T c) noexcept {
  if (is_function(op)) return static_cast<T>(function(op, a));
  switch (op) {
    case MINIINFER_PW_COPY:
      return a;
    case MINIINFER_PW_NEG:
      return -a;
    case MINIINFER_PW_ABS:
      return std::fabs(a);
    case MINIINFER_PW_SIGN:
      return std::isnan(a) ? a : static_cast<T>((a > 0) - (a < 0));
    case MINIINFER_PW_RECIPROCAL:
      return 1 / a;
    case MINIINFER_PW_FLOOR:
      return std::floor(a);
    case MINIINFER_PW_CEIL:
      return std::ceil(a);
    case MINIINFER_PW_ROUND:
      return std::nearbyint(a);
    case MINIINFER_PW_ADD:
      return a + b;
    case MINIINFER_PW_SUB:
      return a - b;
    case MINIINFER_PW_MUL:
      return a * b;
    case MINIINFER_PW_DIV:
      return a / b;
    case MINIINFER_PW_MOD:
      return floor_mod(a, b);
    case MINIINFER_PW_FMOD:
      return std::fmod(a, b);
    case MINIINFER_PW_POW:
      return static_cast<T>(std::pow(static_cast<double>(a), static_cast<double>(b)));
    case MINIINFER_PW_MIN:
      return std::isnan(a) ? a : std::isnan(b) ? b : b < a ? b : a;
    case MINIINFER_PW_MAX:
      return std::isnan(a) ? a : std::isnan(b) ? b : b > a ? b : a;
    default:  // MINIINFER_PW_FMA
      return std::fma(a, b, c);
  }
}

}  // namespace miniinfer::sdk::reference
