// softmax/1, layer_norm/1 and cum_sum/1 against the formulas of abi/op/, in long double.

#include "miniinfer/abi/op/norm.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "miniinfer/abi/op/select.h"
#include "miniinfer/sdk/reference/number.hpp"
#include "tests/cpu/random_data.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;
namespace reference = miniinfer::sdk::reference;

namespace {

using Real = long double;

std::vector<Real> reals(int dtype, const std::vector<std::byte>& data) {
  return reference::with_type(dtype, [&](auto type) {
    using S = typename decltype(type)::Stored;
    std::vector<Real> values;
    for (std::size_t i = 0; i < data.size(); i += sizeof(S)) {
      values.push_back(static_cast<Real>(reference::load<S>(data.data() + i)));
    }
    return values;
  });
}

double step_of(int dtype) {
  return dtype == MINIINFER_FLOAT16    ? 0x1p-10
         : dtype == MINIINFER_BFLOAT16 ? 0x1p-7
         : dtype == MINIINFER_FLOAT64  ? 1e-13
                                       : 2e-6;
}

std::size_t wrong(int dtype, const std::vector<std::byte>& got, const std::vector<Real>& want,
                  double absolute) {
  const std::vector<Real> values = reals(dtype, got);
  if (values.size() != want.size()) return static_cast<std::size_t>(-1);
  std::size_t bad = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (std::isnan(values[i]) && std::isnan(want[i])) continue;
    const Real error = std::fabs(values[i] - want[i]);
    bad += !(error <= step_of(dtype) * (std::fabs(want[i]) + static_cast<Real>(absolute)));
  }
  return bad;
}

constexpr int kFloats[] = {MINIINFER_FLOAT32, MINIINFER_FLOAT64, MINIINFER_FLOAT16,
                           MINIINFER_BFLOAT16};

struct Rows {
  std::int64_t outer = 1, length = 1, inner = 1;
};
Rows rows_of(const Dims& dims, std::int64_t axis) {
  Rows rows;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(dims.size()); ++i) {
    (i < axis    ? rows.outer
     : i == axis ? rows.length
                 : rows.inner) *= dims[static_cast<std::size_t>(i)];
  }
  return rows;
}

// Calls f(position of element 0, distance) for each line along the axis.
template <class F>
void each_line(const Rows& rows, const F& f) {
  for (std::int64_t o = 0; o < rows.outer; ++o) {
    for (std::int64_t c = 0; c < rows.inner; ++c) f(o * rows.length * rows.inner + c, rows.inner);
  }
}

const Dims kShapes[] = {{7}, {3, 1000}, {5, 3, 4}, {2, 300, 17}, {2, 5, 600}, {4, 1, 2}, {1, 2500}};

}  // namespace

TEST_CASE("softmax and its logarithm hold along every axis in every float type") {
  Random random(31);
  for (const Dims& dims : kShapes) {
    for (std::int32_t axis = 0; axis < static_cast<std::int32_t>(dims.size()); ++axis) {
      for (const int dtype : kFloats) {
        for (const std::uint32_t logarithm : {0u, 1u}) {
          miniinfer_softmax_attrs attrs{};
          attrs.axis = axis;
          attrs.logarithm = logarithm;
          RegionBuilder builder;
          const auto x = builder.input(dtype, dims);
          const auto y = builder.output(dtype, dims);
          builder.node(MINIINFER_SOFTMAX, &attrs, {x}, {y});
          auto in = random_elements(random, dtype, count_of(dims), false);
          const Outputs out = run_family(cpu::kSoftmax, builder, {in.data()});
          REQUIRE(out.code == MINIINFER_OK);
          std::vector<Real> want = reals(dtype, in);
          const Rows rows = rows_of(dims, axis);
          each_line(rows, [&](std::int64_t at, std::int64_t step) {
            Real sum = 0;
            Real top = want[static_cast<std::size_t>(at)];
            for (std::int64_t l = 0; l < rows.length; ++l) {
              top = std::fmax(top, want[static_cast<std::size_t>(at + l * step)]);
            }
            for (std::int64_t l = 0; l < rows.length; ++l) {
              sum += std::exp(want[static_cast<std::size_t>(at + l * step)] - top);
            }
            for (std::int64_t l = 0; l < rows.length; ++l) {
              Real& v = want[static_cast<std::size_t>(at + l * step)];
              v = logarithm != 0 ? v - top - std::log(sum) : std::exp(v - top) / sum;
            }
          });
          INFO("type " << dtype << " " << text(dims) << " axis " << axis << " log " << logarithm);
          // Half types cannot hold small quotients to their full relative precision.
          CHECK(wrong(dtype, out.data[0], want, dtype == MINIINFER_FLOAT16 ? 1e-3 : logarithm) ==
                0);
        }
      }
    }
  }
}

TEST_CASE("softmax does not overflow, and a row of -infinity is NaN") {
  std::vector<float> in = {1e30f, 1e30f, -1e30f, 88, 0, -INFINITY, -INFINITY, -INFINITY, -INFINITY};
  miniinfer_softmax_attrs attrs{};
  attrs.axis = 1;
  RegionBuilder builder;
  const auto x = builder.input(MINIINFER_FLOAT32, {3, 3});
  const auto y = builder.output(MINIINFER_FLOAT32, {3, 3});
  builder.node(MINIINFER_SOFTMAX, &attrs, {x}, {y});
  const auto out = run_family(cpu::kSoftmax, builder, {bytes(in)}).as<float>();
  CHECK(out[0] == 0.5f);
  CHECK(out[2] == 0.0f);
  CHECK(out[3] == 1.0f);
  CHECK(out[5] == 0.0f);
  CHECK(std::isnan(out[6]));
}

TEST_CASE("layer_norm holds with and without mean, scale, bias and further outputs") {
  Random random(32);
  for (const Dims& dims : kShapes) {
    for (std::int32_t axis = 0; axis < static_cast<std::int32_t>(dims.size()); ++axis) {
      for (const int dtype : kFloats) {
        const std::int64_t how = pick(random, 0, 15);
        miniinfer_layer_norm_attrs attrs{};
        attrs.axis = axis;
        attrs.rms = how & 1;
        attrs.epsilon = 1e-3;
        Dims row(dims.begin() + axis, dims.end());
        Dims scale_dims = row;
        if ((how & 2) != 0) scale_dims[0] = 1;  // broadcast
        Dims kept = dims;
        for (std::size_t i = static_cast<std::size_t>(axis); i < kept.size(); ++i) kept[i] = 1;
        RegionBuilder builder;
        const auto x = builder.input(dtype, dims);
        const auto scale = builder.input(dtype, scale_dims);
        const auto bias = (how & 4) != 0 ? builder.input(dtype, row) : builder.absent();
        const auto y = builder.output(dtype, dims);
        const auto mean = builder.output(MINIINFER_FLOAT32, kept);
        const auto deviation = builder.output(MINIINFER_FLOAT32, kept);
        builder.node(MINIINFER_LAYER_NORM, &attrs, {x, scale, bias}, {y, mean, deviation});
        auto in = random_elements(random, dtype, count_of(dims), false);
        auto scales = random_elements(random, dtype, count_of(scale_dims), false);
        auto biases = random_elements(random, dtype, count_of(row), false);
        std::vector<std::byte*> inputs = {in.data(), scales.data()};
        if ((how & 4) != 0) inputs.push_back(biases.data());
        const Outputs out = run_family(cpu::kLayerNorm, builder, inputs);
        INFO("type " << dtype << " " << text(dims) << " axis " << axis << " how " << how
                     << out.reason);
        REQUIRE(out.code == MINIINFER_OK);
        std::vector<Real> want = reals(dtype, in);
        const std::vector<Real> s = reals(dtype, scales);
        const std::vector<Real> b = reals(dtype, biases);
        std::vector<Real> means;
        std::vector<Real> deviations;
        const std::size_t n = count_of(row);
        for (std::size_t at = 0; at < want.size(); at += n) {
          Real m = 0;
          Real v = 0;
          for (std::size_t i = 0; i < n; ++i) m += want[at + i];
          m = attrs.rms != 0 ? 0 : m / static_cast<Real>(n);
          for (std::size_t i = 0; i < n; ++i) v += (want[at + i] - m) * (want[at + i] - m);
          const Real d = 1 / std::sqrt(v / static_cast<Real>(n) + static_cast<Real>(1e-3));
          for (std::size_t i = 0; i < n; ++i) {
            want[at + i] = (want[at + i] - m) * d * s[i % s.size()] + ((how & 4) != 0 ? b[i] : 0);
          }
          means.push_back(m);
          deviations.push_back(d);
        }
        CHECK(wrong(dtype, out.data[0], want, 40) == 0);
        CHECK(wrong(MINIINFER_FLOAT32, out.data[1], means, 7) == 0);
        CHECK(wrong(MINIINFER_FLOAT32, out.data[2], deviations, 1) == 0);
      }
    }
  }
}

TEST_CASE("running sums go both ways, with or without the element itself, and integers wrap") {
  Random random(33);
  for (const Dims& dims : kShapes) {
    for (const int dtype : kAllTypes) {
      if (dtype == MINIINFER_BOOL) continue;
      const auto axis =
          static_cast<std::int32_t>(pick(random, 0, static_cast<std::int64_t>(dims.size()) - 1));
      for (const std::uint32_t how : {0u, 1u, 2u, 3u}) {
        miniinfer_cum_sum_attrs attrs{};
        attrs.axis = axis;
        attrs.exclusive = how & 1;
        attrs.reverse = how >> 1;
        RegionBuilder builder;
        const auto x = builder.input(dtype, dims);
        const auto y = builder.output(dtype, dims);
        builder.node(MINIINFER_CUM_SUM, &attrs, {x}, {y});
        auto in = random_elements(random, dtype, count_of(dims), false);
        const Outputs out = run_family(cpu::kCumSum, builder, {in.data()});
        REQUIRE(out.code == MINIINFER_OK);
        const Rows rows = rows_of(dims, axis);
        std::vector<std::byte> want(in.size());
        reference::with_type(dtype, [&](auto type) {
          using S = typename decltype(type)::Stored;
          each_line(rows, [&](std::int64_t at, std::int64_t step) {
            reference::Accumulator<S> sum = 0;
            for (std::int64_t l = 0; l < rows.length; ++l) {
              const std::int64_t place = at + (how >= 2 ? rows.length - 1 - l : l) * step;
              const auto offset = static_cast<std::size_t>(place) * sizeof(S);
              if ((how & 1) != 0) reference::store<S>(want.data() + offset, sum);
              sum += static_cast<reference::Accumulator<S>>(reference::load<S>(in.data() + offset));
              if ((how & 1) == 0) reference::store<S>(want.data() + offset, sum);
            }
          });
        });
        INFO("type " << dtype << " " << text(dims) << " axis " << axis << " how " << how);
        CHECK(differences(dtype, out.data[0], want, dtype == MINIINFER_BFLOAT16 ? 0x1p-7 : 1e-3) ==
              0);
      }
    }
  }
}
