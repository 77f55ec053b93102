#pragma once

// CAST, as abi/op/pointwise.h words it.

#include <cmath>
#include <limits>
#include <type_traits>

#include "miniinfer/sdk/reference/number.hpp"

namespace miniinfer::sdk::reference {

// Truncates toward zero and saturates; NaN gives 0.
template <class To>
To saturate(double value) noexcept {
  using Limits = std::numeric_limits<To>;
  if (std::isnan(value)) return 0;
  const long double whole = std::trunc(static_cast<long double>(value));
  if (whole <= static_cast<long double>(Limits::min())) return Limits::min();
  if (whole >= static_cast<long double>(Limits::max())) return Limits::max();
  return static_cast<To>(whole);
}

// An element of storage type From as one of storage type To.
template <class To, class From>
To convert(From stored) noexcept {
  const Compute<From> value = Number<From>::load(stored);
  if constexpr (std::is_same_v<To, From>) {
    return stored;
  } else if constexpr (std::is_same_v<To, Bool>) {
    return value != 0 ? Bool{1} : Bool{0};
  } else if constexpr (kIsFloat<To>) {
    return Number<To>::store(value);
  } else if constexpr (kIsFloat<From>) {
    return saturate<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace miniinfer::sdk::reference
