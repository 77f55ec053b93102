#include "miniinfer/abi/op/conv.h"

#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "tests/cpu/random_data.hpp"
#include "tests/cpu/relu_node.hpp"
#include "tests/cpu/thread_host.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;
namespace reference = miniinfer::sdk::reference;

namespace {

struct Case {
  std::int64_t batch, group, in_channels, out_channels;  // of a group
  Dims in, window, stride, dilation, begin, end;
};

using Place = std::array<std::int64_t, 3>;

Place spread(const Dims& dims, std::int64_t fill) {
  Place place{fill, fill, fill};
  for (std::size_t i = 0; i < dims.size(); ++i) place[3 - dims.size() + i] = dims[i];
  return place;
}

std::int64_t volume(const Place& p) { return p[0] * p[1] * p[2]; }

Place unflatten(std::int64_t i, const Place& dims) {
  return {i / (dims[1] * dims[2]), i / dims[2] % dims[1], i % dims[2]};
}

Dims out_dims(const Case& c, bool transpose) {
  Dims out;
  for (std::size_t i = 0; i < c.in.size(); ++i) {
    const std::int64_t reach = (c.window[i] - 1) * c.dilation[i] + 1;
    out.push_back(transpose ? (c.in[i] - 1) * c.stride[i] + reach - c.begin[i] - c.end[i]
                            : (c.in[i] + c.begin[i] + c.end[i] - reach) / c.stride[i] + 1);
  }
  return out;
}

// Every pair of an input element and a weight, added where it belongs.
std::vector<double> convolve(const Case& c, bool transpose, const std::vector<double>& x,
                             const std::vector<double>& w, const std::vector<double>& bias) {
  const Place in = spread(c.in, 1), out = spread(out_dims(c, transpose), 1);
  const Place window = spread(c.window, 1), stride = spread(c.stride, 1);
  const Place dilation = spread(c.dilation, 1), begin = spread(c.begin, 0);
  const std::int64_t channels = c.group * c.out_channels;
  std::vector<double> y(static_cast<std::size_t>(c.batch * channels * volume(out)));
  for (std::size_t i = 0; i < y.size(); ++i) {
    y[i] = bias[i / static_cast<std::size_t>(volume(out)) % static_cast<std::size_t>(channels)];
  }
  const std::int64_t taps = volume(window);
  for (std::int64_t n = 0; n < c.batch; ++n) {
    for (std::int64_t g = 0; g < c.group; ++g) {
      for (std::int64_t o = 0; o < c.out_channels; ++o) {
        for (std::int64_t i = 0; i < c.in_channels; ++i) {
          for (std::int64_t t = 0; t < taps; ++t) {
            const Place tap = unflatten(t, window);
            const std::int64_t weight =
                transpose ? ((g * c.in_channels + i) * c.out_channels + o) * taps + t
                          : ((g * c.out_channels + o) * c.in_channels + i) * taps + t;
            // From the small side: outputs of a convolution, inputs of a transposed one.
            const Place& small = transpose ? in : out;
            const Place& large = transpose ? out : in;
            for (std::int64_t p = 0; p < volume(small); ++p) {
              const Place at = unflatten(p, small);
              std::int64_t q = 0;
              bool inside = true;
              for (std::size_t axis = 0; axis < 3; ++axis) {
                const std::int64_t z =
                    at[axis] * stride[axis] + tap[axis] * dilation[axis] - begin[axis];
                inside = inside && z >= 0 && z < large[axis];
                q = q * large[axis] + z;
              }
              if (!inside) continue;
              const std::int64_t from = transpose ? p : q, to = transpose ? q : p;
              const std::int64_t x_at = ((n * c.group + g) * c.in_channels + i) * volume(in) + from;
              const std::int64_t y_at = ((n * c.group + g) * c.out_channels + o) * volume(out) + to;
              y[static_cast<std::size_t>(y_at)] +=
                  x[static_cast<std::size_t>(x_at)] * w[static_cast<std::size_t>(weight)];
            }
          }
        }
      }
    }
  }
  return y;
}

std::vector<double> numbers(int dtype, const std::vector<std::byte>& data) {
  return reference::with_type(dtype, [&](auto type) {
    using S = typename decltype(type)::Stored;
    std::vector<double> values(data.size() / sizeof(S));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<double>(reference::load<S>(data.data() + i * sizeof(S)));
    }
    return values;
  });
}

void check(Random& random, const Case& c, bool transpose, int dtype, ReluNode::Kind kind,
           bool constant, bool with_bias) {
  CAPTURE(transpose);
  CAPTURE(dtype);
  CAPTURE(kind);
  CAPTURE(constant);
  CAPTURE(with_bias);
  CAPTURE(c.group);
  CAPTURE(c.in_channels);
  CAPTURE(c.out_channels);
  CAPTURE(c.in.size());
  CAPTURE(c.in.back());
  CAPTURE(c.window.back());
  CAPTURE(c.stride.back());
  Dims dx = {c.batch, c.group * c.in_channels}, dy = {c.batch, c.group * c.out_channels};
  Dims dw = transpose ? Dims{c.group * c.in_channels, c.out_channels}
                      : Dims{c.group * c.out_channels, c.in_channels};
  for (std::int64_t d : c.in) dx.push_back(d);
  for (std::int64_t d : c.window) dw.push_back(d);
  for (std::int64_t d : out_dims(c, transpose)) dy.push_back(d);
  miniinfer_conv_attrs attrs{};
  attrs.spatial_rank = static_cast<std::int32_t>(c.in.size());
  attrs.group = static_cast<std::int32_t>(c.group);
  for (std::size_t i = 0; i < c.in.size(); ++i) {
    attrs.stride[i] = c.stride[i];
    attrs.dilation[i] = c.dilation[i];
    attrs.pad_begin[i] = c.begin[i];
    attrs.pad_end[i] = c.end[i];
  }
  RegionBuilder builder;
  ReluNode relu(kind);
  const auto x = builder.input(dtype, dx), w = builder.input(dtype, dw);
  if (constant) builder[w].flags = MINIINFER_VALUE_CONSTANT;
  std::vector<std::uint32_t> in = {x, w};
  in.push_back(with_bias ? builder.input(dtype, {dy[1]}) : builder.absent());
  const auto y =
      dtype == MINIINFER_FLOAT32 ? relu.produced(builder, dy) : builder.output(dtype, dy);
  builder.node(transpose ? MINIINFER_CONV_TRANSPOSE : MINIINFER_CONV, &attrs, in, {y});
  relu.follow(builder, y, dy);
  auto vx = random_elements(random, dtype, count_of(dx), false);
  auto vw = random_elements(random, dtype, count_of(dw), false);
  auto vb = random_elements(random, dtype, static_cast<std::size_t>(dy[1]), false);
  auto vr = random_elements(random, MINIINFER_FLOAT32, count_of(dy), false);
  std::vector<std::byte*> inputs = {vx.data(), vw.data()};
  if (with_bias) inputs.push_back(vb.data());
  if (relu.adds()) inputs.push_back(vr.data());
  const Outputs got = run_family(transpose ? cpu::kConvTranspose : cpu::kConv, builder, inputs);
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  std::vector<double> bias = numbers(dtype, vb);
  if (!with_bias) bias.assign(bias.size(), 0);
  std::vector<double> want = convolve(c, transpose, numbers(dtype, vx), numbers(dtype, vw), bias);
  const std::vector<double> residual = numbers(MINIINFER_FLOAT32, vr);
  if (dtype == MINIINFER_FLOAT32) {
    const std::size_t plane = want.size() / static_cast<std::size_t>(c.batch * dy[1]);
    for (std::size_t i = 0; i < want.size(); ++i) {
      const std::size_t at =
          kind == ReluNode::Bias ? i / plane % static_cast<std::size_t>(dy[1]) : i;
      want[i] = relu.expected(want[i], residual[at]);
    }
  }
  const std::vector<double> result = numbers(dtype, got.data[0]);
  REQUIRE(result.size() == want.size());
  const double relative = dtype == MINIINFER_BFLOAT16  ? 1e-2
                          : dtype == MINIINFER_FLOAT16 ? 2e-3
                                                       : 0;
  std::size_t bad = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double error = result[i] - want[i];
    const double allowed = 2e-3 + relative * (want[i] < 0 ? -want[i] : want[i]);
    bad += !(error <= allowed && error >= -allowed);
  }
  CHECK(bad == 0);
}

const Case kCases[] = {
    {1, 1, 1, 8, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 3, 13, {23, 21}, {7, 7}, {2, 2}, {1, 1}, {3, 3}, {3, 3}},
    {1, 1, 70, 33, {14, 14}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {1, 1, 40, 50, {9, 11}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {2, 1, 9, 7, {8, 8}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {1, 1, 5, 4, {12, 9}, {1, 1}, {2, 2}, {1, 1}, {0, 0}, {0, 0}},
    {1, 2, 4, 6, {10, 7}, {3, 2}, {2, 1}, {1, 2}, {0, 1}, {2, 0}},
    {1, 3, 2, 1, {5, 6}, {3, 3}, {1, 1}, {2, 2}, {2, 2}, {2, 2}},
    {2, 5, 1, 1, {13, 19}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {1, 4, 1, 1, {15, 40}, {5, 5}, {2, 2}, {1, 1}, {2, 2}, {2, 2}},
    {1, 3, 1, 1, {150, 170}, {3, 3}, {1, 2}, {2, 1}, {1, 0}, {0, 1}},
    {1, 2, 1, 1, {9, 9}, {9, 9}, {1, 1}, {1, 1}, {4, 4}, {4, 4}},
    {1, 6, 1, 2, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 6, 5, {37}, {5}, {2}, {1}, {2}, {1}},
    {1, 4, 1, 1, {31}, {3}, {1}, {1}, {1}, {1}},
    {1, 1, 3, 4, {5, 6, 7}, {3, 2, 3}, {2, 1, 1}, {1, 1, 2}, {1, 0, 2}, {1, 1, 2}},
};

}  // namespace

TEST_CASE("Conv agrees with its definition for every shape, with any number of threads") {
  Random random(3);
  for (std::uint32_t threads : {1u, 2u, 3u}) {
    const ThreadHost host(threads);
    for (const Case& c : kCases) {
      check(random, c, false, MINIINFER_FLOAT32, ReluNode::None, true, true);
      check(random, c, false, MINIINFER_FLOAT32, ReluNode::None, false, false);
      check(random, c, false, MINIINFER_FLOAT32, ReluNode::Clamp, true, true);
      check(random, c, false, MINIINFER_FLOAT32, ReluNode::Residual, false, true);
      for (const bool with_bias : {false, true}) {
        check(random, c, false, MINIINFER_FLOAT32, ReluNode::Bias, true, with_bias);
      }
    }
  }
}

TEST_CASE("Conv agrees with its definition for shapes nobody thought of") {
  Random random(4);
  const ThreadHost host(2);
  for (int i = 0; i < 150; ++i) {
    Case c;
    c.batch = pick(random, 1, 2);
    c.group = pick(random, 1, 3);
    const bool depthwise = pick(random, 0, 2) == 0;
    c.in_channels = depthwise ? 1 : pick(random, 1, 9);
    c.out_channels = depthwise ? 1 : pick(random, 1, 15);
    const auto axes = static_cast<std::size_t>(pick(random, 1, 3));
    for (std::size_t axis = 0; axis < axes; ++axis) {
      c.window.push_back(pick(random, 1, 4));
      c.stride.push_back(pick(random, 1, 3));
      c.dilation.push_back(pick(random, 1, 2));
      c.begin.push_back(pick(random, 0, 3));
      c.end.push_back(pick(random, 0, 3));
      c.in.push_back(pick(random, (c.window.back() - 1) * c.dilation.back() + 1, 18));
    }
    const auto kind = static_cast<ReluNode::Kind>(pick(random, 0, 3));
    check(random, c, false, MINIINFER_FLOAT32, kind, pick(random, 0, 1) != 0,
          pick(random, 0, 1) != 0);
    for (std::size_t axis = 0; axis < axes; ++axis)
      c.end[axis] = std::min<std::int64_t>(c.end[axis], 1);
    for (std::size_t axis = 0; axis < axes; ++axis) c.begin[axis] = 0;
    if (*std::min_element(c.in.begin(), c.in.end()) < 2) continue;
    check(random, c, true, MINIINFER_FLOAT32, kind, pick(random, 0, 1) != 0,
          pick(random, 0, 1) != 0);
  }
}

// Outputs of a row read neighbours: panels of columns hold one row or several, whole or in part.
TEST_CASE("Conv without a stride agrees with its definition for every width, padded or not") {
  Random random(7);
  const ThreadHost host(2);
  for (std::int64_t width = 1; width <= 70; width += width < 36 ? 1 : 11) {
    for (const std::int64_t pad : {0, 1, 2}) {
      const std::int64_t height = pick(random, 1, 9), down = pick(random, 1, 2);
      const std::int64_t across = 3, shrunk = std::max<std::int64_t>(0, 2 - 2 * pad);
      // SAME where pad is 1; outputs narrower or wider than the input where not.
      check(random,
            {1,
             pick(random, 1, 2),
             pick(random, 1, 5),
             pick(random, 1, 14),
             {height + 2, width + shrunk},
             {3, across},
             {down, 1},
             {1, 1},
             {pad, pad},
             {pad, pad}},
            false, MINIINFER_FLOAT32, ReluNode::None, true, false);
    }
  }
  const Case cases[] = {
      // Steps end within a tap.
      {1, 1, 150, 9, {9, 13}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
      {2, 2, 61, 30, {6, 17}, {3, 5}, {1, 1}, {1, 1}, {0, 1}, {0, 0}},
      // The longest windows that runs serve, and one more.
      {1, 1, 2, 3, {40}, {32}, {1}, {1}, {20}, {11}},
      {1, 1, 2, 3, {40}, {33}, {1}, {1}, {20}, {12}},
      {1, 1, 2, 3, {33, 9}, {33, 2}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
      // Windows that lie in the padding as a whole.
      {1, 1, 2, 3, {4, 6}, {3, 3}, {1, 1}, {1, 1}, {9, 9}, {8, 8}},
      {1, 1, 3, 4, {6, 7, 9}, {3, 3, 3}, {2, 1, 1}, {1, 2, 3}, {1, 2, 3}, {1, 2, 3}},
  };
  for (const Case& c : cases) {
    check(random, c, false, MINIINFER_FLOAT32, ReluNode::None, true, true);
    check(random, c, false, MINIINFER_FLOAT32, ReluNode::Residual, false, false);
  }
}

TEST_CASE("Conv and its transpose serve all float types") {
  Random random(5);
  const ThreadHost host(2);
  for (int dtype : {MINIINFER_FLOAT64, MINIINFER_FLOAT16, MINIINFER_BFLOAT16}) {
    for (const Case& c : kCases) {
      if (c.in[0] > 100 || c.in_channels > 60) continue;
      check(random, c, false, dtype, ReluNode::None, true, true);
    }
    check(random, kCases[6], true, dtype, ReluNode::None, false, true);
  }
}

TEST_CASE("Transposed convolutions agree with the definition, with any number of threads") {
  Random random(6);
  for (std::uint32_t threads : {1u, 3u}) {
    const ThreadHost host(threads);
    for (const Case& c : kCases) {
      if (c.in[0] > 100 || c.window[0] > 7) continue;
      check(random, c, true, MINIINFER_FLOAT32, ReluNode::None, true, true);
      check(random, c, true, MINIINFER_FLOAT32, ReluNode::Clamp, false, false);
      check(random, c, true, MINIINFER_FLOAT32, ReluNode::Residual, true, true);
    }
  }
}
