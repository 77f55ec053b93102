#pragma once

// What one instruction of a pointwise program does to one element (abi/op/pointwise.h), in the
// compute types of number.hpp: float, double, int, unsigned, long long, unsigned long long. Results
// are not yet narrowed to the element type. The interpreter and the generated kernels call the same
// functions, and get the same bits. Read by NVRTC too: nothing but number.hpp is included.

#include "plugins/cuda/kernels/number.hpp"

// Opcode after MINIINFER_PW_ and function after op_.
// clang-format off
#define MINIINFER_POINTWISE_COMMON(X)                                                          \
  X(NEG, neg) X(ABS, abs) X(SIGN, sign) X(RECIPROCAL, reciprocal) X(FLOOR, floor)              \
  X(CEIL, ceil) X(ROUND, round) X(ADD, add) X(SUB, sub) X(MUL, mul) X(DIV, div) X(MOD, mod)    \
  X(FMOD, fmod) X(POW, pow) X(MIN, min) X(MAX, max) X(FMA, fma)
#define MINIINFER_POINTWISE_FLOAT(X)                                                           \
  X(SQRT, sqrt) X(RSQRT, rsqrt) X(EXP, exp) X(LOG, log) X(SIN, sin) X(COS, cos) X(TAN, tan)    \
  X(ASIN, asin) X(ACOS, acos) X(ATAN, atan) X(SINH, sinh) X(COSH, cosh) X(TANH, tanh)          \
  X(ASINH, asinh) X(ACOSH, acosh) X(ATANH, atanh) X(ERF, erf) X(SIGMOID, sigmoid)              \
  X(SOFTPLUS, softplus)
#define MINIINFER_POINTWISE_INTEGER(X)                                                         \
  X(NOT, not) X(BIT_NOT, bit_not) X(AND, bit_and) X(OR, bit_or) X(XOR, bit_xor)                \
  X(BIT_AND, bit_and) X(BIT_OR, bit_or) X(BIT_XOR, bit_xor) X(SHIFT_LEFT, shift_left)          \
  X(SHIFT_RIGHT, shift_right)
#define MINIINFER_POINTWISE_TESTS(X)                                                           \
  X(IS_NAN, is_nan) X(IS_POSITIVE_INF, is_positive_inf) X(IS_NEGATIVE_INF, is_negative_inf)    \
  X(EQUAL, equal) X(LESS, less) X(LESS_EQUAL, less_equal)
// clang-format on

namespace miniinfer::cuda {

// Where an instruction is: the width of its element type, and where it reports a division by zero.
template <class Sink>
struct Site {
  int bits;
  const Sink& sink;
};

template <class T>
struct Unsigned {
  using Type = unsigned;
};
template <>
struct Unsigned<long long> {
  using Type = unsigned long long;
};
template <>
struct Unsigned<unsigned long long> {
  using Type = unsigned long long;
};

template <class T>
inline constexpr bool kIsSigned = static_cast<T>(-1) < static_cast<T>(0);

// The C library under one name for both float types.
#define MINIINFER_MATH_1(name)                                     \
  MINIINFER_HD float math_##name(float x) { return ::name##f(x); } \
  MINIINFER_HD double math_##name(double x) { return ::name(x); }
#define MINIINFER_MATH_2(name)                                                 \
  MINIINFER_HD float math_##name(float x, float y) { return ::name##f(x, y); } \
  MINIINFER_HD double math_##name(double x, double y) { return ::name(x, y); }
MINIINFER_MATH_1(fabs)
MINIINFER_MATH_1(sqrt)
MINIINFER_MATH_1(exp)
MINIINFER_MATH_1(log)
MINIINFER_MATH_1(log1p)
MINIINFER_MATH_1(sin)
MINIINFER_MATH_1(cos)
MINIINFER_MATH_1(tan)
MINIINFER_MATH_1(asin)
MINIINFER_MATH_1(acos)
MINIINFER_MATH_1(atan)
MINIINFER_MATH_1(sinh)
MINIINFER_MATH_1(cosh)
MINIINFER_MATH_1(tanh)
MINIINFER_MATH_1(asinh)
MINIINFER_MATH_1(acosh)
MINIINFER_MATH_1(atanh)
MINIINFER_MATH_1(erf)
MINIINFER_MATH_1(floor)
MINIINFER_MATH_1(ceil)
MINIINFER_MATH_1(rint)
MINIINFER_MATH_2(fmod)
MINIINFER_MATH_2(pow)
MINIINFER_MATH_2(copysign)
#undef MINIINFER_MATH_1
#undef MINIINFER_MATH_2
MINIINFER_HD float math_fma(float a, float b, float c) { return ::fmaf(a, b, c); }
MINIINFER_HD double math_fma(double a, double b, double c) { return ::fma(a, b, c); }

template <class T>
MINIINFER_HD bool is_negative([[maybe_unused]] T a) {
  if constexpr (kIsFloating<T> || kIsSigned<T>) return a < 0;
  return false;
}

// Every function has this face, so that one table of names serves all.
#define MINIINFER_OP(name)                                                                   \
  template <class T, class S>                                                                \
  MINIINFER_HD T op_##name([[maybe_unused]] T a, [[maybe_unused]] T b, [[maybe_unused]] T c, \
                           [[maybe_unused]] const Site<S>& site)
#define MINIINFER_TEST(name) \
  template <class T>         \
  MINIINFER_HD bool op_##name([[maybe_unused]] T a, [[maybe_unused]] T b)

MINIINFER_OP(neg) {
  if constexpr (kIsFloating<T>) return -a;
  using U = typename Unsigned<T>::Type;
  return static_cast<T>(U{0} - static_cast<U>(a));
}
MINIINFER_OP(abs) {
  if constexpr (kIsFloating<T>) {
    return math_fabs(a);
  } else if constexpr (kIsSigned<T>) {
    return a < 0 ? op_neg(a, a, a, site) : a;
  } else {
    return a;
  }
}
MINIINFER_OP(sign) {
  if constexpr (kIsFloating<T>) {
    if (a != a) return a;
  }
  return static_cast<T>(static_cast<int>(a > 0) - static_cast<int>(is_negative(a)));
}
MINIINFER_OP(floor) {
  if constexpr (kIsFloating<T>) return math_floor(a);
  return a;
}
MINIINFER_OP(ceil) {
  if constexpr (kIsFloating<T>) return math_ceil(a);
  return a;
}
MINIINFER_OP(round) {
  if constexpr (kIsFloating<T>) return math_rint(a);
  return a;
}
MINIINFER_OP(add) {
  if constexpr (kIsFloating<T>) return a + b;
  using U = typename Unsigned<T>::Type;
  return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
}
MINIINFER_OP(sub) {
  if constexpr (kIsFloating<T>) return a - b;
  using U = typename Unsigned<T>::Type;
  return static_cast<T>(static_cast<U>(a) - static_cast<U>(b));
}
MINIINFER_OP(mul) {
  if constexpr (kIsFloating<T>) return a * b;
  using U = typename Unsigned<T>::Type;
  return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
}
MINIINFER_OP(fma) {
  if constexpr (kIsFloating<T>) return math_fma(a, b, c);
  using U = typename Unsigned<T>::Type;
  return static_cast<T>(static_cast<U>(a) * static_cast<U>(b) + static_cast<U>(c));
}
MINIINFER_OP(min) {
  if constexpr (kIsFloating<T>) return a != a ? a : b != b ? b : b < a ? b : a;
  return b < a ? b : a;
}
MINIINFER_OP(max) {
  if constexpr (kIsFloating<T>) return a != a ? a : b != b ? b : b > a ? b : a;
  return b > a ? b : a;
}

// Remainder with the divisor's sign, also where it is zero. Integers: b is not 0.
template <class T>
MINIINFER_HD T floor_mod(T a, T b) {
  if constexpr (kIsFloating<T>) {
    const T rest = math_fmod(a, b);
    if (rest == 0) return math_copysign(T{0}, b);
    return (rest < 0) != (b < 0) ? rest + b : rest;
  } else {
    const T rest = static_cast<T>(a % b);
    const bool turned = is_negative(rest) != is_negative(b);
    return static_cast<T>(rest != 0 && turned ? rest + b : rest);
  }
}

// Division by zero is reported and gives false.
template <class T, class S>
MINIINFER_HD bool can_divide(T divisor, T a, T b, const Site<S>& site) {
  if (divisor != 0) return true;
  site.sink.divide_by_zero(static_cast<long long>(a), static_cast<long long>(b));
  return false;
}

// The lowest integer divided by -1 would trap.
template <class T>
MINIINFER_HD bool is_minus_one(T divisor) {
  return kIsSigned<T> && divisor == static_cast<T>(-1);
}

MINIINFER_OP(div) {
  if constexpr (kIsFloating<T>) {
    return a / b;
  } else {
    if (!can_divide(b, a, b, site)) return 0;
    return is_minus_one(b) ? op_neg(a, a, a, site) : static_cast<T>(a / b);
  }
}
MINIINFER_OP(mod) {
  if constexpr (kIsFloating<T>) {
    return floor_mod(a, b);
  } else {
    if (!can_divide(b, a, b, site) || is_minus_one(b)) return 0;
    return floor_mod(a, b);
  }
}
MINIINFER_OP(fmod) {
  if constexpr (kIsFloating<T>) {
    return math_fmod(a, b);
  } else {
    if (!can_divide(b, a, b, site) || is_minus_one(b)) return 0;
    return static_cast<T>(a % b);
  }
}
MINIINFER_OP(reciprocal) { return op_div(T{1}, a, a, site); }
MINIINFER_OP(pow) {
  if constexpr (kIsFloating<T>) {
    return math_pow(a, b);
  } else {
    if (is_negative(b)) {  // 1 / a^-b, which is 0 but for 1 and -1
      if (!can_divide(a, a, b, site)) return 0;
      if (a == 1) return 1;
      return is_minus_one(a) ? ((b & 1) != 0 ? a : T{1}) : T{0};
    }
    using U = typename Unsigned<T>::Type;
    U power = 1;
    U factor = static_cast<U>(a);
    for (U rest = static_cast<U>(b); rest != 0; rest >>= 1) {
      if ((rest & 1) != 0) power *= factor;
      factor *= factor;
    }
    return static_cast<T>(power);
  }
}

MINIINFER_OP(not) { return static_cast<T>(a == 0 ? 1 : 0); }
MINIINFER_OP(bit_not) { return static_cast<T>(~a); }
MINIINFER_OP(bit_and) { return static_cast<T>(a & b); }
MINIINFER_OP(bit_or) { return static_cast<T>(a | b); }
MINIINFER_OP(bit_xor) { return static_cast<T>(a ^ b); }
MINIINFER_OP(shift_left) {  // bits beyond a narrow type's width are cut off when it is narrowed
  using U = typename Unsigned<T>::Type;
  const U places = static_cast<U>(b);
  return places >= sizeof(U) * 8 ? T{0} : static_cast<T>(static_cast<U>(a) << places);
}
MINIINFER_OP(shift_right) {
  using U = typename Unsigned<T>::Type;
  const U places = static_cast<U>(b);
  const U logical = static_cast<U>(a) & (static_cast<U>(~U{0}) >> (sizeof(U) * 8 - site.bits));
  return places >= sizeof(U) * 8 ? T{0} : static_cast<T>(logical >> places);
}

MINIINFER_OP(sqrt) { return math_sqrt(a); }
#if defined(__CUDACC__)
MINIINFER_HD float reciprocal_root(float a) { return ::rsqrtf(a); }
#else
MINIINFER_HD float reciprocal_root(float a) { return 1.0f / std::sqrt(a); }
#endif
MINIINFER_HD double reciprocal_root(double a) { return 1.0 / math_sqrt(a); }
MINIINFER_OP(rsqrt) { return reciprocal_root(a); }
MINIINFER_OP(exp) { return math_exp(a); }
MINIINFER_OP(log) { return math_log(a); }
MINIINFER_OP(sin) { return math_sin(a); }
MINIINFER_OP(cos) { return math_cos(a); }
MINIINFER_OP(tan) { return math_tan(a); }
MINIINFER_OP(asin) { return math_asin(a); }
MINIINFER_OP(acos) { return math_acos(a); }
MINIINFER_OP(atan) { return math_atan(a); }
MINIINFER_OP(sinh) { return math_sinh(a); }
MINIINFER_OP(cosh) { return math_cosh(a); }
MINIINFER_OP(tanh) { return math_tanh(a); }
MINIINFER_OP(asinh) { return math_asinh(a); }
MINIINFER_OP(acosh) { return math_acosh(a); }
MINIINFER_OP(atanh) { return math_atanh(a); }
MINIINFER_OP(erf) { return math_erf(a); }
MINIINFER_OP(sigmoid) {
  const T e = math_exp(-math_fabs(a));
  return (a >= 0 ? T{1} : e) / (T{1} + e);
}
MINIINFER_OP(softplus) {
  const T e = math_log1p(math_exp(-math_fabs(a)));
  return a > 0 ? a + e : e;
}

MINIINFER_TEST(is_nan) { return a != a; }
MINIINFER_TEST(is_positive_inf) {
  if constexpr (kIsFloating<T>) return a > 0 && a - a != 0 && a == a;
  return false;
}
MINIINFER_TEST(is_negative_inf) {
  if constexpr (kIsFloating<T>) return a < 0 && a - a != 0 && a == a;
  return false;
}
MINIINFER_TEST(equal) { return a == b; }
MINIINFER_TEST(less) { return a < b; }
MINIINFER_TEST(less_equal) { return a <= b; }

#undef MINIINFER_OP
#undef MINIINFER_TEST

}  // namespace miniinfer::cuda
