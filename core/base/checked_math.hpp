#pragma once

#include <concepts>
#include <cstdint>
#include <limits>

namespace miniinfer {

// Arithmetic on sizes. Each gives false, and leaves `*out` unspecified, where the exact result does
// not fit.
template <std::integral T>
[[nodiscard]] constexpr bool checked_add(T a, T b, T* out) {
  return !__builtin_add_overflow(a, b, out);
}

template <std::integral T>
[[nodiscard]] constexpr bool checked_sub(T a, T b, T* out) {
  return !__builtin_sub_overflow(a, b, out);
}

template <std::integral T>
[[nodiscard]] constexpr bool checked_mul(T a, T b, T* out) {
  return !__builtin_mul_overflow(a, b, out);
}

template <std::integral T>
constexpr bool is_power_of_two(T value) {
  return value > 0 && (value & (value - 1)) == 0;
}

// The next multiple of `alignment`, a power of two.
[[nodiscard]] constexpr bool checked_align_up(std::uint64_t value, std::uint64_t alignment,
                                              std::uint64_t* out) {
  if (!checked_add(value, alignment - 1, out)) return false;
  *out &= ~(alignment - 1);
  return true;
}

// The same where the caller knows that it fits.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace miniinfer
