#pragma once

// Elements of every numeric type, as C++ types and as bit patterns.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "miniinfer/sdk/data_type.hpp"
#include "miniinfer/sdk/error.hpp"

namespace miniinfer::sdk::reference {

// How elements of types that C++ does not have are stored.
enum class Float16 : std::uint16_t {};
enum class BFloat16 : std::uint16_t {};
enum class Bool : std::uint8_t {};

// An IEEE-like format of 16 bits with kMantissa bits after the point.
template <int kMantissa>
struct Binary16 {
  static constexpr int kExponentMask = (1 << (15 - kMantissa)) - 1;
  static constexpr int kBias = kExponentMask / 2;
  static constexpr int kMantissaMask = (1 << kMantissa) - 1;
  static constexpr std::uint16_t kInfinity = kExponentMask << kMantissa;

  static float decode(std::uint16_t bits) noexcept {
    const int exponent = (bits >> kMantissa) & kExponentMask;
    const int mantissa = bits & kMantissaMask;
    float magnitude;
    if (exponent == kExponentMask) {
      magnitude = mantissa != 0 ? std::numeric_limits<float>::quiet_NaN()
                                : std::numeric_limits<float>::infinity();
    } else if (exponent == 0) {
      magnitude = std::ldexp(static_cast<float>(mantissa), 1 - kBias - kMantissa);
    } else {
      magnitude =
          std::ldexp(static_cast<float>(mantissa | (1 << kMantissa)), exponent - kBias - kMantissa);
    }
    return (bits & 0x8000) != 0 ? -magnitude : magnitude;
  }

  // Rounds once, to nearest even. long double holds every 64-bit integer and every double.
  static std::uint16_t encode(long double x) noexcept {
    const std::uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    const long double magnitude = std::fabs(x);
    if (std::isnan(x)) return sign | kInfinity | (1 << (kMantissa - 1));
    if (std::isinf(x)) return sign | kInfinity;
    if (magnitude == 0) return sign;
    const int exponent = std::max(std::ilogb(magnitude), 1 - kBias);
    if (exponent > kBias) return sign | kInfinity;
    // In units of the last place: at most 2^(kMantissa + 1), where it carries into the exponent,
    // and up to infinity.
    const auto units =
        static_cast<int>(std::nearbyint(std::ldexp(magnitude, kMantissa - exponent)));
    return static_cast<std::uint16_t>(sign + ((exponent + kBias - 1) << kMantissa) + units);
  }
};

// How elements of type S are stored, and the type they are calculated in.
template <class S>
struct Number {
  using Compute = S;
  static Compute load(S stored) noexcept { return stored; }
  static S store(Compute value) noexcept { return value; }
};

template <>
struct Number<Bool> {
  using Compute = std::uint8_t;
  static Compute load(Bool stored) noexcept { return stored != Bool{0} ? 1 : 0; }
  static Bool store(Compute value) noexcept { return value != 0 ? Bool{1} : Bool{0}; }
};

template <>
struct Number<Float16> {
  using Compute = float;
  using Format = Binary16<10>;
  static Compute load(Float16 stored) noexcept {
    return Format::decode(static_cast<std::uint16_t>(stored));
  }
  static Float16 store(long double value) noexcept { return Float16{Format::encode(value)}; }
};

template <>
struct Number<BFloat16> {
  using Compute = float;
  using Format = Binary16<7>;
  static Compute load(BFloat16 stored) noexcept {
    return Format::decode(static_cast<std::uint16_t>(stored));
  }
  static BFloat16 store(long double value) noexcept { return BFloat16{Format::encode(value)}; }
};

template <class S>
using Compute = typename Number<S>::Compute;

template <class S>
inline constexpr bool kIsFloat = std::is_floating_point_v<Compute<S>>;

// Sums of floating-point elements are taken in double, which any order of a float32 sum may be
// compared with; integers wrap.
template <class S>
using Accumulator = std::conditional_t<kIsFloat<S>, double, std::uint64_t>;

template <class S>
Compute<S> load(const std::byte* address) noexcept {
  S stored;
  std::memcpy(&stored, address, sizeof stored);
  return Number<S>::load(stored);
}

// Stores a value of a wider type, rounded or wrapped to S.
template <class S, class V>
void store(std::byte* address, V value) noexcept {
  S stored;
  if constexpr (kIsFloat<S>) {
    stored = Number<S>::store(value);
  } else {
    stored = Number<S>::store(static_cast<Compute<S>>(value));
  }
  std::memcpy(address, &stored, sizeof stored);
}

template <class S>
struct Type {
  using Stored = S;
};

// Calls f(Type<S>{}) with the storage type of `dtype`.
template <class F>
decltype(auto) with_type(miniinfer_dtype dtype, F&& f) {
  switch (dtype) {
    case MINIINFER_FLOAT32:
      return f(Type<float>{});
    case MINIINFER_UINT8:
      return f(Type<std::uint8_t>{});
    case MINIINFER_INT8:
      return f(Type<std::int8_t>{});
    case MINIINFER_UINT16:
      return f(Type<std::uint16_t>{});
    case MINIINFER_INT16:
      return f(Type<std::int16_t>{});
    case MINIINFER_INT32:
      return f(Type<std::int32_t>{});
    case MINIINFER_INT64:
      return f(Type<std::int64_t>{});
    case MINIINFER_BOOL:
      return f(Type<Bool>{});
    case MINIINFER_FLOAT16:
      return f(Type<Float16>{});
    case MINIINFER_FLOAT64:
      return f(Type<double>{});
    case MINIINFER_UINT32:
      return f(Type<std::uint32_t>{});
    case MINIINFER_UINT64:
      return f(Type<std::uint64_t>{});
    case MINIINFER_BFLOAT16:
      return f(Type<BFloat16>{});
    default:
      fail(MINIINFER_UNSUPPORTED, "type %s is not implemented", dtype_name(dtype));
  }
}

inline bool is_numeric(std::uint32_t dtype) noexcept {
  return dtype < 64 && ((kNumericTypes >> dtype) & 1) != 0;
}

}  // namespace miniinfer::sdk::reference
