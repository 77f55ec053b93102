#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "miniinfer/sdk/reference/number.hpp"
#include "tests/cpu/region_builder.hpp"

namespace miniinfer::test {

using Random = std::mt19937_64;
using Dims = std::vector<std::int64_t>;

inline std::int64_t pick(Random& random, std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(high - low + 1));
}

inline std::size_t count_of(const Dims& dims) {
  std::size_t n = 1;
  for (const std::int64_t d : dims) n *= static_cast<std::size_t>(d);
  return n;
}

inline std::string text(const Dims& dims) {
  std::string out;
  for (const std::int64_t d : dims) out += (out.empty() ? "" : ",") + std::to_string(d);
  return "[" + out + "]";
}

// Small numbers of a type, zeros and signs among them; now and then a NaN or an infinity.
inline std::vector<std::byte> random_elements(Random& random, int dtype, std::size_t count,
                                              bool odd_values = true) {
  return sdk::reference::with_type(dtype, [&](auto type) {
    using S = typename decltype(type)::Stored;
    std::vector<std::byte> data(count * sizeof(S));
    for (std::size_t i = 0; i < count; ++i) {
      S value;
      if constexpr (sdk::reference::kIsFloat<S>) {
        const std::int64_t odd = odd_values ? pick(random, 0, 199) : 9;
        long double x = static_cast<long double>(pick(random, -400, 400)) / 64;
        if (odd == 0) x = std::numeric_limits<long double>::quiet_NaN();
        if (odd == 1) x = std::numeric_limits<long double>::infinity();
        if (odd == 2) x = -std::numeric_limits<long double>::infinity();
        value = sdk::reference::Number<S>::store(static_cast<sdk::reference::Compute<S>>(x));
      } else {
        value = sdk::reference::Number<S>::store(
            static_cast<sdk::reference::Compute<S>>(pick(random, -40, 200)));
      }
      std::memcpy(data.data() + i * sizeof(S), &value, sizeof value);
    }
    return data;
  });
}

// How many elements differ: by more than `relative` (and `absolute`) for float types, in any bit
// for others. NaN equals NaN, and 0 equals -0.
inline std::size_t differences(int dtype, const std::vector<std::byte>& got,
                               const std::vector<std::byte>& want, double relative,
                               double absolute = 0) {
  if (got.size() != want.size()) return static_cast<std::size_t>(-1);
  return sdk::reference::with_type(dtype, [&](auto type) -> std::size_t {
    using S = typename decltype(type)::Stored;
    std::size_t bad = 0;
    for (std::size_t i = 0; i < got.size(); i += sizeof(S)) {
      const auto a = sdk::reference::load<S>(got.data() + i);
      const auto b = sdk::reference::load<S>(want.data() + i);
      if constexpr (sdk::reference::kIsFloat<S>) {
        if (a == b || (a != a && b != b)) continue;
        const double error = std::fabs(static_cast<double>(a) - static_cast<double>(b));
        if (!(error <= absolute + relative * std::fabs(static_cast<double>(b)))) ++bad;
      } else {
        bad += a != b;
      }
    }
    return bad;
  });
}

inline constexpr int kAllTypes[] = {
    MINIINFER_FLOAT32, MINIINFER_UINT8,  MINIINFER_INT8,    MINIINFER_UINT16,  MINIINFER_INT16,
    MINIINFER_INT32,   MINIINFER_INT64,  MINIINFER_BOOL,    MINIINFER_FLOAT16, MINIINFER_FLOAT64,
    MINIINFER_UINT32,  MINIINFER_UINT64, MINIINFER_BFLOAT16};

}  // namespace miniinfer::test
