#include "miniinfer/abi/op/resize.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "tests/cpu/random_data.hpp"
#include "tests/cpu/thread_host.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;

namespace {

constexpr double kOutside = -77;

double source(const miniinfer_resize_attrs& a, std::size_t axis, double n, double m, double x) {
  const double scale = a.scale[axis];
  switch (a.coordinate) {
    case MINIINFER_COORD_ALIGN_CORNERS:
      return m == 1 ? 0 : x * (n - 1) / (n * scale - 1);
    case MINIINFER_COORD_ASYMMETRIC:
      return x / scale;
    case MINIINFER_COORD_PYTORCH_HALF_PIXEL:
      return m == 1 ? 0 : (x + 0.5) / scale - 0.5;
    case MINIINFER_COORD_HALF_PIXEL_SYMMETRIC:
      return n / 2 * (1 - m / (n * scale)) + (x + 0.5) / scale - 0.5;
    case MINIINFER_COORD_TF_CROP_AND_RESIZE:
      return a.roi_begin[axis] * (n - 1) +
             (m == 1 ? (a.roi_end[axis] - a.roi_begin[axis]) * (n - 1) / 2
                     : x * (a.roi_end[axis] - a.roi_begin[axis]) * (n - 1) / (n * scale - 1));
    default:
      return (x + 0.5) / scale - 0.5;
  }
}

double filter(const miniinfer_resize_attrs& a, double x) {
  x = std::fabs(x);
  if (a.mode == MINIINFER_RESIZE_LINEAR) return x < 1 ? 1 - x : 0;
  const double c = a.cubic_coeff;
  if (x <= 1) return (c + 2) * x * x * x - (c + 3) * x * x + 1;
  return x < 2 ? c * x * x * x - 5 * c * x * x + 8 * c * x - 4 * c : 0;
}

// The weight of every input position for one output position; empty: outside the crop.
std::vector<double> weights(const miniinfer_resize_attrs& a, std::size_t axis, std::int64_t n,
                            std::int64_t m, std::int64_t x) {
  const double at =
      source(a, axis, static_cast<double>(n), static_cast<double>(m), static_cast<double>(x));
  if (a.coordinate == MINIINFER_COORD_TF_CROP_AND_RESIZE &&
      (at < 0 || at > static_cast<double>(n - 1))) {
    return {};
  }
  std::vector<double> w(static_cast<std::size_t>(n));
  const auto edge = [&](double p) {
    return static_cast<std::size_t>(std::min(std::max(p, 0.0), static_cast<double>(n - 1)));
  };
  if (a.mode == MINIINFER_RESIZE_NEAREST) {
    double p = std::floor(at);
    if (a.nearest == MINIINFER_NEAREST_CEIL) p = std::ceil(at);
    if (a.nearest == MINIINFER_NEAREST_ROUND_PREFER_FLOOR) p = std::ceil(at - 0.5);
    if (a.nearest == MINIINFER_NEAREST_ROUND_PREFER_CEIL) p = std::floor(at + 0.5);
    w[edge(p)] = 1;
    return w;
  }
  const double stretch = a.antialias != 0 ? std::min(1.0, a.scale[axis]) : 1;
  double sum = 0;
  for (double p = -40; p < static_cast<double>(n) + 40; ++p) {
    double f = filter(a, (p - at) * stretch);
    if (a.exclude_outside != 0 && (p < 0 || p >= static_cast<double>(n))) f = 0;
    w[edge(p)] += f;
    sum += f;
  }
  if (a.exclude_outside != 0 || a.antialias != 0) {
    for (double& f : w) f /= sum;
  }
  return w;
}

std::vector<double> resize(const miniinfer_resize_attrs& a, const std::vector<double>& x,
                           const Dims& in, const Dims& out) {
  std::vector<double> y(count_of(out));
  for (std::size_t o = 0; o < y.size(); ++o) {
    std::size_t left = o;
    std::vector<double> w = {1};  // of each input element, built from the last axis up
    bool outside = false;
    for (std::size_t axis = in.size(); axis-- > 0;) {
      const auto m = static_cast<std::size_t>(out[axis]);
      const auto own = weights(a, axis, in[axis], out[axis], static_cast<std::int64_t>(left % m));
      left /= m;
      outside = outside || own.empty();
      std::vector<double> next;
      for (double f : own) {
        for (double g : w) next.push_back(f * g);
      }
      w = std::move(next);
    }
    if (outside) {
      y[o] = a.extrapolation;
      continue;
    }
    for (std::size_t i = 0; i < x.size(); ++i) y[o] += w[i] * x[i];
  }
  return y;
}

}  // namespace

TEST_CASE("Resize agrees with its definition in every mode") {
  Random random(10);
  int runs = 0;
  for (std::uint32_t threads : {1u, 3u}) {
    const ThreadHost host(threads);
    for (int i = 0; i < 400; ++i) {
      miniinfer_resize_attrs attrs{};
      attrs.mode = static_cast<int>(pick(random, 0, 2));
      attrs.coordinate = static_cast<int>(pick(random, 0, 5));
      attrs.nearest = static_cast<int>(pick(random, 0, 3));
      const bool smooth = attrs.mode != MINIINFER_RESIZE_NEAREST;
      attrs.antialias = smooth && pick(random, 0, 2) == 0;
      attrs.exclude_outside = smooth && pick(random, 0, 2) == 0;
      attrs.cubic_coeff = -0.75;
      attrs.extrapolation = kOutside;
      Dims in, out;
      const std::int64_t rank = pick(random, 1, 4);
      for (std::int64_t axis = 0; axis < rank; ++axis) {
        in.push_back(pick(random, 1, 7));
        out.push_back(pick(random, 0, 2) == 0 ? in.back() : pick(random, 1, 9));
        const auto at = static_cast<std::size_t>(axis);
        attrs.scale[at] = static_cast<double>(out.back()) / static_cast<double>(in.back());
        attrs.roi_begin[at] = pick(random, 0, 1) == 0 ? 0 : 0.3;
        attrs.roi_end[at] = pick(random, 0, 1) == 0 ? 1 : 1.25;
      }
      for (int dtype : {MINIINFER_FLOAT32, MINIINFER_FLOAT64, MINIINFER_FLOAT16}) {
        CAPTURE(attrs.mode);
        CAPTURE(attrs.coordinate);
        CAPTURE(attrs.nearest);
        CAPTURE(attrs.antialias);
        CAPTURE(attrs.exclude_outside);
        CAPTURE(rank);
        CAPTURE(dtype);
        RegionBuilder builder;
        const auto x = builder.input(dtype, in);
        builder.node(MINIINFER_RESIZE, &attrs, {x}, {builder.output(dtype, out)});
        auto data = random_elements(random, dtype, count_of(in), false);
        const Outputs got = run_family(cpu::kResize, builder, {data.data()});
        REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
        miniinfer::sdk::reference::with_type(dtype, [&](auto type) {
          using S = typename decltype(type)::Stored;
          const auto numbers = [](const std::vector<std::byte>& from) {
            std::vector<double> values(from.size() / sizeof(S));
            for (std::size_t k = 0; k < values.size(); ++k) {
              values[k] = static_cast<double>(
                  miniinfer::sdk::reference::load<S>(from.data() + k * sizeof(S)));
            }
            return values;
          };
          const auto want = resize(attrs, numbers(data), in, out);
          const auto result = numbers(got.data[0]);
          REQUIRE(result.size() == want.size());
          const double allowed = dtype == MINIINFER_FLOAT16 ? 0.1 : 1e-4;
          std::size_t bad = 0;
          for (std::size_t k = 0; k < want.size(); ++k) {
            bad += !(std::fabs(result[k] - want[k]) <= allowed);
          }
          CHECK(bad == 0);
        });
        ++runs;
      }
    }
  }
  CHECK(runs == 2400);
}

TEST_CASE("Resize in the nearest mode moves elements of any type") {
  for (int dtype : kAllTypes) {
    Random random(11);
    miniinfer_resize_attrs attrs{};
    attrs.coordinate = MINIINFER_COORD_ASYMMETRIC;
    attrs.nearest = MINIINFER_NEAREST_FLOOR;
    attrs.scale[0] = attrs.scale[1] = 2;
    RegionBuilder builder;
    const auto x = builder.input(dtype, {2, 3});
    builder.node(MINIINFER_RESIZE, &attrs, {x}, {builder.output(dtype, {4, 6})});
    auto data = random_elements(random, dtype, 6);
    const Outputs got = run_family(cpu::kResize, builder, {data.data()});
    REQUIRE(got.code == MINIINFER_OK);
    const std::size_t size = cpu::element_bytes(dtype);
    std::size_t bad = 0;
    for (std::size_t i = 0; i < 24; ++i) {
      bad += std::memcmp(got.data[0].data() + i * size,
                         data.data() + (i / 12 * 3 + i % 6 / 2) * size, size) != 0;
    }
    CHECK(bad == 0);
  }
}

TEST_CASE("Resize of integers loses no unit to rounding") {
  miniinfer_resize_attrs attrs{};
  attrs.mode = MINIINFER_RESIZE_CUBIC;
  attrs.cubic_coeff = -0.75;
  attrs.scale[0] = 3.3;
  RegionBuilder builder;
  const auto x = builder.input(MINIINFER_UINT8, {10});
  builder.node(MINIINFER_RESIZE, &attrs, {x}, {builder.output(MINIINFER_UINT8, {33})});
  std::vector<std::uint8_t> data(10, 201);
  const Outputs got = run_family(cpu::kResize, builder, {bytes(data)});
  REQUIRE(got.code == MINIINFER_OK);
  CHECK(got.as<std::uint8_t>() == std::vector<std::uint8_t>(33, 201));
}
