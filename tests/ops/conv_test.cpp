#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

std::vector<float> numbers(std::int64_t count) {
  std::vector<float> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(static_cast<float>(i * 7 % 13) - 5);
  return out;
}

std::optional<Shape> inferred(const char* op, Shape x, Shape w, Attributes attributes) {
  OpModel m;
  const ValueId y = m.node(
      op, {m.unknown(DataType::Float32, std::move(x)), m.unknown(DataType::Float32, std::move(w))},
      std::move(attributes));
  const Status status = m.infer();
  CHECK_MESSAGE(status.ok(), status.to_string());
  return m.value(y).shape;
}

// A convolution of two spatial axes, straight from its definition.
struct Conv2 {
  std::int64_t n, c, h, w, m, kh, kw, group, sh, sw, dh, dw, top, left, oh, ow;

  Values operator()(const std::vector<float>& x, const std::vector<float>& f,
                    const std::vector<float>& bias) const {
    Values out;
    const std::int64_t cg = c / group;
    for (std::int64_t b = 0; b < n; ++b) {
      for (std::int64_t o = 0; o < m; ++o) {
        for (std::int64_t y = 0; y < oh; ++y) {
          for (std::int64_t z = 0; z < ow; ++z) {
            double sum = bias.empty() ? 0 : bias[static_cast<std::size_t>(o)];
            for (std::int64_t i = 0; i < cg; ++i) {
              for (std::int64_t p = 0; p < kh; ++p) {
                for (std::int64_t q = 0; q < kw; ++q) {
                  const std::int64_t row = y * sh + p * dh - top;
                  const std::int64_t col = z * sw + q * dw - left;
                  if (row < 0 || row >= h || col < 0 || col >= w) continue;
                  const std::int64_t channel = o / (m / group) * cg + i;
                  sum += x[static_cast<std::size_t>(((b * c + channel) * h + row) * w + col)] *
                         f[static_cast<std::size_t>(((o * cg + i) * kh + p) * kw + q)];
                }
              }
            }
            out.push_back(sum);
          }
        }
      }
    }
    return out;
  }
};

}  // namespace

TEST_CASE("Conv's sizes follow padding, stride, dilation and auto_pad") {
  CHECK(inferred("Conv", {1, 1, 5, 5}, {1, 1, 3, 3}, attributes({{"pads", Ints{1, 1, 1, 1}}})) ==
        Shape{1, 1, 5, 5});
  CHECK(inferred("Conv", {1, 1, 7, 5}, {4, 1, 3, 3}, attributes({{"strides", Ints{2, 2}}})) ==
        Shape{1, 4, 3, 2});
  CHECK(inferred("Conv", {1, 1, 5, 5}, {1, 1, 3, 3},
                 attributes({{"auto_pad", std::string("SAME_LOWER")}, {"strides", Ints{2, 2}}})) ==
        Shape{1, 1, 3, 3});
  CHECK(inferred("Conv", {2, 4, 9}, {6, 2, 3},
                 attributes({{"group", std::int64_t{2}}, {"dilations", Ints{3}}})) ==
        Shape{2, 6, 3});
  CHECK(inferred("Conv", {-1, 3, -1, 8}, {6, 3, 3, 3}, {}) == Shape{-1, 6, -1, 6});
}

TEST_CASE("ConvTranspose's sizes are those of ONNX's tests") {
  const auto size = [](Attributes attributes) {
    return inferred("ConvTranspose", {1, 1, 3, 3}, {1, 2, 3, 3}, std::move(attributes));
  };
  CHECK(size({}) == Shape{1, 2, 5, 5});
  CHECK(size(attributes({{"strides", Ints{3, 2}}})) == Shape{1, 2, 9, 7});
  CHECK(size(attributes({{"strides", Ints{3, 2}}, {"output_shape", Ints{10, 8}}})) ==
        Shape{1, 2, 10, 8});
  CHECK(size(attributes({{"strides", Ints{3, 2}}, {"output_padding", Ints{1, 1}}})) ==
        Shape{1, 2, 10, 8});
  CHECK(size(attributes({{"strides", Ints{3, 2}}, {"pads", Ints{1, 2, 1, 2}}})) ==
        Shape{1, 2, 7, 3});
  CHECK(size(attributes({{"auto_pad", std::string("SAME_UPPER")}, {"strides", Ints{2, 2}}})) ==
        Shape{1, 2, 6, 6});
  CHECK(size(attributes({{"dilations", Ints{2, 2}}})) == Shape{1, 2, 7, 7});
}

TEST_CASE("a convolution taken apart gives what its definition says") {
  const Conv2 cases[] = {
      {1, 1, 5, 5, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 5, 5},  // padded
      {2, 4, 6, 5, 6, 3, 2, 2, 2, 1, 1, 2, 1, 0, 3, 3},  // groups, strides, dilation
      {1, 3, 4, 4, 3, 1, 1, 3, 1, 1, 1, 1, 0, 0, 4, 4},  // one tap, depthwise
      {1, 1, 2, 2, 1, 5, 5, 1, 3, 3, 1, 1, 3, 3, 2, 2},  // mostly padding
  };
  for (const Conv2& c : cases) {
    CAPTURE(c.m);
    OpModel m;
    const std::vector<float> x = numbers(c.n * c.c * c.h * c.w);
    const std::vector<float> w = numbers(c.m * c.c / c.group * c.kh * c.kw);
    const std::vector<float> bias = numbers(c.m);
    const std::int64_t bottom = (c.oh - 1) * c.sh + (c.kh - 1) * c.dh + 1 - c.h - c.top;
    const std::int64_t right = (c.ow - 1) * c.sw + (c.kw - 1) * c.dw + 1 - c.w - c.left;
    const ValueId y =
        m.node("Conv",
               {m.input(floats(x, {c.n, c.c, c.h, c.w})),
                m.input(floats(w, {c.m, c.c / c.group, c.kh, c.kw})), m.input(floats(bias, {c.m}))},
               attributes({{"group", c.group},
                           {"strides", Ints{c.sh, c.sw}},
                           {"dilations", Ints{c.dh, c.dw}},
                           {"pads", Ints{c.top, c.left, std::max<std::int64_t>(bottom, 0),
                                         std::max<std::int64_t>(right, 0)}}}));
    check_near(m.run(y), c(x, w, bias));
  }
}

TEST_CASE("Conv refuses weights that do not fit, and windows larger than the input") {
  const auto fails = [](Shape x, Shape w, Attributes attributes) {
    OpModel m;
    m.node("Conv",
           {m.unknown(DataType::Float32, std::move(x)), m.unknown(DataType::Float32, std::move(w))},
           std::move(attributes));
    return m.infer().code() == Code::InvalidArgument;
  };
  CHECK(fails({1, 3, 5, 5}, {4, 2, 3, 3}, {}));
  CHECK(fails({1, 4, 5, 5}, {3, 2, 3, 3}, attributes({{"group", std::int64_t{2}}})));
  CHECK(fails({1, 1, 5, 5}, {1, 1, 6, 6}, {}));
  CHECK(fails({1, 1, 5, 5}, {1, 1, 3, 3}, attributes({{"kernel_shape", Ints{3, 2}}})));
  CHECK(fails({1, 1, 5, 5}, {1, 1, 3, 3}, attributes({{"strides", Ints{0, 1}}})));
  CHECK(fails({1, 1, 5, 5}, {1, 1, 3, 3}, attributes({{"pads", Ints{-1, 0, 0, 0}}})));
  CHECK(fails({1, 1, 5, 5}, {1, 1, 3, 3}, attributes({{"auto_pad", std::string("SAME")}})));
}
