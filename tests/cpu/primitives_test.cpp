#include "core/cpu/primitives.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/cpu/cpu_features.hpp"
#include "miniinfer/sdk/reference/pointwise_math.hpp"

namespace cpu = miniinfer::cpu;
namespace reference = miniinfer::sdk::reference;

namespace {

std::vector<const cpu::PrimitiveTable*> tables() {
  std::vector<const cpu::PrimitiveTable*> all = {&cpu::primitives_baseline()};
  const cpu::CpuFeatures& f = cpu::cpu_features();
  if (f.avx2 && f.fma && f.f16c) all.push_back(&cpu::primitives_avx2());
  if (f.avx512) all.push_back(&cpu::primitives_avx512());
  return all;
}

// Every odd value a type has, then random ones; repeated so that vectors and tails both see them.
template <class T>
std::vector<T> samples(std::uint64_t seed, std::size_t count) {
  std::mt19937_64 random(seed);
  std::vector<T> values;
  using Limits = std::numeric_limits<T>;
  if constexpr (std::is_floating_point_v<T>) {
    values = {0,
              T(-0.0),
              1,
              -1,
              T(0.5),
              T(-0.5),
              T(1.5),
              T(2.5),
              T(-2.5),
              3,
              Limits::infinity(),
              -Limits::infinity(),
              Limits::quiet_NaN(),
              Limits::min(),
              Limits::denorm_min(),
              -Limits::denorm_min(),
              Limits::max(),
              Limits::lowest(),
              T(88.7),
              T(-88.7),
              T(-103.9),
              T(127.5),
              T(-128.5),
              T(255.9),
              T(32767.5),
              T(2147483648.0),
              T(-2147483648.0),
              T(9.3e18),
              T(-9.3e18),
              T(1.9e19),
              T(65519.0),
              T(65520.0),
              T(1e-8),
              T(8388609),
              T(1e6)};
    while (values.size() < count) {
      const double r = static_cast<double>(random()) / 1.8446744073709552e19;
      switch (random() % 4) {
        case 0:
          values.push_back(static_cast<T>(r * 4 - 2));
          break;
        case 1:
          values.push_back(static_cast<T>(r * 200 - 100));
          break;
        case 2:
          values.push_back(
              static_cast<T>(std::ldexp(r - 0.5, static_cast<int>(random() % 280) - 140)));
          break;
        default:
          values.push_back(static_cast<T>(std::round(r * 20 - 10)));
      }
    }
  } else {
    values = {0, 1, static_cast<T>(-1), 2, 3, Limits::max(), Limits::min(), 7, static_cast<T>(-7)};
    while (values.size() < count) {
      values.push_back(static_cast<T>(random() >> (random() % 64)));
    }
  }
  std::shuffle(values.begin(), values.end(), random);
  return values;
}

template <class T>
double ulps(T got, double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : 1e9;
  const T rounded = static_cast<T>(want);
  if (got == rounded) return 0;
  if (std::isinf(got) || std::isnan(got)) return 1e9;
  int exponent;
  std::frexp(std::isinf(rounded) ? std::numeric_limits<T>::max() : rounded, &exponent);
  const double ulp = std::max(std::ldexp(1.0, exponent - std::numeric_limits<T>::digits),
                              static_cast<double>(std::numeric_limits<T>::denorm_min()));
  return std::fabs(static_cast<double>(got) - want) / ulp;
}

template <class T>
bool same(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  }
  return std::memcmp(&a, &b, sizeof a) == 0;
}

constexpr std::size_t kCount = 4099;

template <class T>
void check_all_opcodes(int dtype, double function_ulps) {
  const auto a = samples<T>(1, kCount);
  const auto b = samples<T>(2, kCount);
  const auto c = samples<T>(3, kCount);
  for (const cpu::PrimitiveTable* table : tables()) {
    for (int op = 0; op < cpu::kOpCodes; ++op) {
      const bool compares = (op >= MINIINFER_PW_IS_NAN && op <= MINIINFER_PW_IS_NEGATIVE_INF) ||
                            (op >= MINIINFER_PW_EQUAL && op <= MINIINFER_PW_LESS_EQUAL);
      if (table->op[op][dtype] == nullptr || compares || op == MINIINFER_PW_SELECT) continue;
      std::vector<T> out(kCount);
      const std::int64_t faults =
          table->op[op][dtype](out.data(), a.data(), b.data(), c.data(), kCount);
      std::int64_t wanted_faults = 0;
      std::size_t bad = 0;
      double worst = 0;
      T at = 0;
      for (std::size_t i = 0; i < kCount; ++i) {
        if constexpr (std::is_floating_point_v<T>) {
          const bool inexact =
              reference::is_function(static_cast<std::uint16_t>(op)) || op == MINIINFER_PW_POW;
          if (inexact) {
            const double want = op == MINIINFER_PW_POW
                                    ? std::pow(static_cast<double>(a[i]), static_cast<double>(b[i]))
                                    : reference::function(static_cast<std::uint16_t>(op), a[i]);
            const double error = ulps(out[i], want);
            if (error > worst) {
              worst = error;
              at = a[i];
            }
            continue;
          }
          const T want =
              reference::float_instruction(static_cast<std::uint16_t>(op), a[i], b[i], c[i]);
          // The sign of a zero that MIN and MAX choose is free.
          const bool zeros =
              want == 0 && out[i] == 0 && (op == MINIINFER_PW_MIN || op == MINIINFER_PW_MAX);
          if (!zeros && !same(out[i], want)) ++bad, at = a[i];
        } else {
          miniinfer_fault fault{};
          const T want = reference::integer_instruction(static_cast<std::uint16_t>(op), a[i], b[i],
                                                        c[i], reference::FaultSink(&fault, 0));
          wanted_faults += fault.code != 0;
          if (out[i] != want) ++bad, at = a[i];
        }
      }
      INFO(std::string(table->isa) << " opcode " << op << " type " << dtype << " at " << +at);
      CHECK(bad == 0);
      CHECK(worst <= function_ulps);
      CHECK(faults == wanted_faults);
    }
  }
}

template <class S, class D>
void check_cast(const cpu::PrimitiveTable* table, int from, int to, const std::vector<S>& values) {
  std::vector<D> out(values.size());
  table->cast[from][to](out.data(), values.data(), nullptr, nullptr,
                        static_cast<std::int64_t>(values.size()));
  std::size_t bad = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const D want = reference::convert<D>(values[i]);
    const auto x = reference::Number<D>::load(out[i]);
    const auto y = reference::Number<D>::load(want);
    if (!(x != x && y != y) && std::memcmp(&out[i], &want, sizeof want) != 0) ++bad;
  }
  INFO(std::string(table->isa) << " cast of type " << from << " to " << to);
  CHECK(bad == 0);
}

}  // namespace

TEST_CASE("float32 opcodes are exact, or within four units in the last place") {
  check_all_opcodes<float>(MINIINFER_FLOAT32, 4.0);
}

TEST_CASE("float64 opcodes are exact, or within four units in the last place") {
  check_all_opcodes<double>(MINIINFER_FLOAT64, 4.0);
}

TEST_CASE("integer opcodes wrap, and count divisions by zero") {
  check_all_opcodes<std::int8_t>(MINIINFER_INT8, 0);
  check_all_opcodes<std::uint8_t>(MINIINFER_UINT8, 0);
  check_all_opcodes<std::int16_t>(MINIINFER_INT16, 0);
  check_all_opcodes<std::uint16_t>(MINIINFER_UINT16, 0);
  check_all_opcodes<std::int32_t>(MINIINFER_INT32, 0);
  check_all_opcodes<std::uint32_t>(MINIINFER_UINT32, 0);
  check_all_opcodes<std::int64_t>(MINIINFER_INT64, 0);
  check_all_opcodes<std::uint64_t>(MINIINFER_UINT64, 0);
}

TEST_CASE("casts between all types saturate, wrap and round once") {
  for (const cpu::PrimitiveTable* table : tables()) {
    for (int from = 0; from < cpu::kDtypes; ++from) {
      if (table->cast[from][MINIINFER_BOOL] == nullptr) continue;
      reference::with_type(from, [&](auto from_type) {
        using S = typename decltype(from_type)::Stored;
        std::vector<S> values;
        if constexpr (std::is_same_v<S, reference::Bool>) {
          values.assign(77, reference::Bool{1});
          values[3] = values[40] = reference::Bool{0};
        } else if constexpr (std::is_enum_v<S>) {  // every bit pattern
          for (int bits = 0; bits < 65536; ++bits) values.push_back(static_cast<S>(bits));
        } else {
          values = samples<S>(9, kCount);
        }
        for (int to = 0; to < cpu::kDtypes; ++to) {
          if (table->cast[from][to] == nullptr) continue;
          reference::with_type(to, [&](auto to_type) {
            check_cast<S, typename decltype(to_type)::Stored>(table, from, to, values);
          });
        }
      });
    }
  }
}

TEST_CASE("a loop with one element for an operand gives what the whole array would") {
  const auto a = samples<float>(4, 515);
  for (const cpu::PrimitiveTable* table : tables()) {
    for (int op = 0; op < cpu::kOpCodes; ++op) {
      if (table->scalar[op][0] == nullptr) continue;
      for (const float one : {0.75f, -3.0f, std::numeric_limits<float>::quiet_NaN()}) {
        const std::vector<float> whole(a.size(), one);
        std::vector<float> want(a.size());
        std::vector<float> got(a.size());
        for (int side = 0; side < 2; ++side) {
          const void* x = side == 0 ? whole.data() : a.data();
          const void* y = side == 0 ? a.data() : whole.data();
          table->op[op][MINIINFER_FLOAT32](want.data(), x, y, nullptr, 515);
          table->scalar[op][side](got.data(), side == 0 ? &one : x, side == 0 ? y : &one, nullptr,
                                  515);
          std::size_t bad = 0;
          for (std::size_t i = 0; i < a.size(); ++i) bad += !same(got[i], want[i]);
          CHECK(bad == 0);
        }
      }
    }
  }
}

TEST_CASE("vector functions hold their bound over a sweep of all magnitudes") {
  constexpr std::uint16_t kOps[] = {MINIINFER_PW_EXP, MINIINFER_PW_LOG,     MINIINFER_PW_TANH,
                                    MINIINFER_PW_ERF, MINIINFER_PW_SIGMOID, MINIINFER_PW_SOFTPLUS,
                                    MINIINFER_PW_SIN, MINIINFER_PW_COS};
  std::vector<float> x;
  for (std::uint64_t bits = 0; bits < (1ull << 32); bits += 40009) {
    const auto low = static_cast<std::uint32_t>(bits);
    float value;
    std::memcpy(&value, &low, sizeof value);
    x.push_back(value);
  }
  for (int i = 0; i < 40000; ++i) x.push_back(static_cast<float>(i - 20000) * 6.1e-3f);
  std::vector<float> y(x.size());
  for (const cpu::PrimitiveTable* table : tables()) {
    for (const std::uint16_t op : kOps) {
      table->op[op][MINIINFER_FLOAT32](y.data(), x.data(), nullptr, nullptr,
                                       static_cast<std::int64_t>(x.size()));
      double worst = 0;
      float at = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double error = ulps(y[i], reference::function(op, x[i]));
        if (error > worst) worst = error, at = x[i];
      }
      INFO(std::string(table->isa) << " opcode " << op << " is off by " << worst << " at " << at);
      CHECK(worst <= 4.0);
    }
  }
}
