#pragma once

// Elements of every numeric type on a device: how they are stored, the type they are calculated in,
// and conversions that round once. Read by nvcc, by the host's compiler (where the same code is
// tested) and by NVRTC, which has no other header: nothing is included but for the host.

#if defined(__CUDACC__)
#define MINIINFER_HD __host__ __device__ __forceinline__
#else
#define MINIINFER_HD inline
#endif

#if !defined(__CUDACC_RTC__)
#include <math.h>
#endif

namespace miniinfer::cuda {

// Storage of types that C++ does not have.
struct Float16 {
  unsigned short bits;
};
struct BFloat16 {
  unsigned short bits;
};
struct Bool {
  unsigned char bits;
};

MINIINFER_HD unsigned bits_of(float x) { return __builtin_bit_cast(unsigned, x); }
MINIINFER_HD float float_of(unsigned bits) { return __builtin_bit_cast(float, bits); }
MINIINFER_HD unsigned long long bits_of(double x) {
  return __builtin_bit_cast(unsigned long long, x);
}
MINIINFER_HD double double_of(unsigned long long bits) { return __builtin_bit_cast(double, bits); }

MINIINFER_HD float decode(Float16 x) {
#if defined(__CUDA_ARCH__)
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(x.bits));
  return value;
#else
  const unsigned sign = (x.bits & 0x8000u) << 16;
  const unsigned rest = x.bits & 0x7FFFu;
  if (rest >= 0x7C00) return float_of(sign | 0x7F800000u | ((rest & 0x3FFu) << 13));
  // Scaling by a power of two is exact and makes subnormals right.
  return float_of(sign | bits_of(float_of(rest << 13) * float_of(0x77800000u)));
#endif
}

MINIINFER_HD Float16 encode_float16(float x) {
#if defined(__CUDA_ARCH__)
  Float16 stored;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(stored.bits) : "f"(x));
  return stored;
#else
  const unsigned sign = (bits_of(x) >> 16) & 0x8000u;
  const unsigned rest = bits_of(x) & 0x7FFFFFFFu;
  unsigned magnitude;
  if (rest > 0x7F800000u) {
    magnitude = 0x7FFF;
  } else if (rest >= 0x47800000u) {  // 65536
    magnitude = 0x7C00;
  } else if (rest <
             0x38800000u) {  // subnormal: adding 0.5 leaves the rounded units in the mantissa
    magnitude = bits_of(float_of(rest) + 0.5f) - 0x3F000000u;
  } else {
    magnitude = (rest - 0x38000000u + 0xFFFu + ((rest >> 13) & 1u)) >> 13;
  }
  return {static_cast<unsigned short>(sign | magnitude)};
#endif
}

MINIINFER_HD float decode(BFloat16 x) { return float_of(static_cast<unsigned>(x.bits) << 16); }

MINIINFER_HD BFloat16 encode_bfloat16(float x) {
  const unsigned bits = bits_of(x);
  const unsigned rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  return {static_cast<unsigned short>(x != x ? 0x7FFFu : rounded)};
}

// Wider values as a float that rounds to a narrower format as they would have: cut, and the last
// bit set where something was cut off (round to odd).
MINIINFER_HD float to_odd(float x) { return x; }
MINIINFER_HD float to_odd(double x) {
  float near = static_cast<float>(x);
  if (x != x || near == x) return near;
  unsigned bits = bits_of(near);
  const double magnitude = x < 0 ? -x : x;
  if (static_cast<double>(float_of(bits & 0x7FFFFFFFu)) > magnitude) --bits;
  return float_of(bits | 1u);
}
MINIINFER_HD float to_odd(unsigned long long x) {
  float near = static_cast<float>(x);
  unsigned bits = bits_of(near);
  if (near >= 18446744073709551616.0f) return float_of((bits - 1u) | 1u);
  const unsigned long long back = static_cast<unsigned long long>(near);
  if (back == x) return near;
  return float_of((back > x ? bits - 1u : bits) | 1u);
}
MINIINFER_HD float to_odd(long long x) {
  const float magnitude = to_odd(x < 0 ? 0ull - static_cast<unsigned long long>(x)
                                       : static_cast<unsigned long long>(x));
  return x < 0 ? -magnitude : magnitude;
}
MINIINFER_HD float to_odd(int x) { return to_odd(static_cast<long long>(x)); }
MINIINFER_HD float to_odd(unsigned x) { return to_odd(static_cast<unsigned long long>(x)); }

// Truncates toward zero and saturates; NaN gives 0.
template <class To, class F>
MINIINFER_HD To saturate(F x) {
  constexpr int kBits = static_cast<int>(sizeof(To)) * 8;
  constexpr bool kSigned = static_cast<To>(-1) < static_cast<To>(0);
  constexpr int kValueBits = kSigned ? kBits - 1 : kBits;
  constexpr unsigned long long kMax = ~0ull >> (64 - kValueBits);
  // 2^kValueBits, exactly.
  constexpr F kEnd = static_cast<F>(1ull << (kValueBits - 1)) * static_cast<F>(2);
  if (x != x) return 0;
  if (x >= kEnd) return static_cast<To>(kMax);
  if (kSigned && x <= -kEnd) return static_cast<To>(0 - kMax - 1);
  if (!kSigned && x <= static_cast<F>(0)) return 0;
  return static_cast<To>(x);
}

template <class T>
inline constexpr bool kIsFloating = false;
template <>
inline constexpr bool kIsFloating<float> = true;
template <>
inline constexpr bool kIsFloating<double> = true;

// How elements of storage type S are calculated with: narrow integers in int or unsigned, the
// 16-bit floats in float. `load` widens; `store` rounds or wraps a value of type Compute.
template <class S>
struct Number;

#define MINIINFER_NUMBER(S, C)                                             \
  template <>                                                              \
  struct Number<S> {                                                       \
    using Compute = C;                                                     \
    MINIINFER_HD static C load(S stored) { return stored; }                \
    MINIINFER_HD static S store(C value) { return static_cast<S>(value); } \
  };
MINIINFER_NUMBER(float, float)
MINIINFER_NUMBER(double, double)
MINIINFER_NUMBER(signed char, int)
MINIINFER_NUMBER(short, int)
MINIINFER_NUMBER(int, int)
MINIINFER_NUMBER(long long, long long)
MINIINFER_NUMBER(unsigned char, unsigned)
MINIINFER_NUMBER(unsigned short, unsigned)
MINIINFER_NUMBER(unsigned, unsigned)
MINIINFER_NUMBER(unsigned long long, unsigned long long)
#undef MINIINFER_NUMBER

template <>
struct Number<Bool> {
  using Compute = unsigned;
  MINIINFER_HD static unsigned load(Bool stored) { return stored.bits != 0 ? 1 : 0; }
  MINIINFER_HD static Bool store(unsigned value) {  // wraps to a byte first, as the contract does
    return {static_cast<unsigned char>((value & 0xFFu) != 0 ? 1 : 0)};
  }
};
template <>
struct Number<Float16> {
  using Compute = float;
  MINIINFER_HD static float load(Float16 stored) { return decode(stored); }
  MINIINFER_HD static Float16 store(float value) { return encode_float16(value); }
};
template <>
struct Number<BFloat16> {
  using Compute = float;
  MINIINFER_HD static float load(BFloat16 stored) { return decode(stored); }
  MINIINFER_HD static BFloat16 store(float value) { return encode_bfloat16(value); }
};

template <class S>
using Compute = typename Number<S>::Compute;

// A value of S's compute type after it has been an element.
template <class S>
MINIINFER_HD Compute<S> narrow(Compute<S> value) {
  return Number<S>::load(Number<S>::store(value));
}

// CAST: a value of any compute type as an element of type S.
template <class S>
struct Convert {
  template <class From>
  MINIINFER_HD static S from(From value) {
    if constexpr (kIsFloating<From> && !kIsFloating<S>) {
      return saturate<S>(value);
    } else {
      return static_cast<S>(value);
    }
  }
};
template <>
struct Convert<Bool> {
  template <class From>
  MINIINFER_HD static Bool from(From value) {
    return {static_cast<unsigned char>(value != 0 ? 1 : 0)};
  }
};
template <>
struct Convert<Float16> {
  template <class From>
  MINIINFER_HD static Float16 from(From value) {
    return encode_float16(to_odd(value));
  }
};
template <>
struct Convert<BFloat16> {
  template <class From>
  MINIINFER_HD static BFloat16 from(From value) {
    return encode_bfloat16(to_odd(value));
  }
};
template <class S, class From>
MINIINFER_HD S convert(From value) {
  return Convert<S>::from(value);
}

// An unsigned number divided by one that is known before: a product and a shift. Right for
// dividends below 2^31.
struct FastDivisor {
  unsigned divisor = 1;
  unsigned multiplier = 1;
  unsigned shift = 0;

  MINIINFER_HD unsigned divide(unsigned n) const {
#if defined(__CUDA_ARCH__)
    const unsigned high = __umulhi(n, multiplier);
#else
    const unsigned high =
        static_cast<unsigned>((static_cast<unsigned long long>(n) * multiplier) >> 32);
#endif
    return (high + n) >> shift;
  }
  // Leaves the quotient in `n` and gives the remainder.
  MINIINFER_HD unsigned split(unsigned& n) const {
    const unsigned quotient = divide(n);
    const unsigned rest = n - quotient * divisor;
    n = quotient;
    return rest;
  }
};

MINIINFER_HD FastDivisor make_fast_divisor(unsigned divisor) {  // 1 to 2^31
  FastDivisor fast;
  fast.divisor = divisor;
  while (fast.shift < 31 && (1u << fast.shift) < divisor) ++fast.shift;
  const unsigned long long over = (1ull << fast.shift) - divisor;
  fast.multiplier = static_cast<unsigned>(((over << 32) / divisor) + 1);
  return fast;
}

}  // namespace miniinfer::cuda
