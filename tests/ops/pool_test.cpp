#include <cmath>

#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

ConstantPtr counting(std::int64_t count, Shape shape) {
  std::vector<float> values;
  for (std::int64_t i = 1; i <= count; ++i) values.push_back(static_cast<float>(i));
  return floats(values, std::move(shape));
}

}  // namespace

TEST_CASE("MaxPool gives the values and positions of ONNX's tests") {
  OpModel m;
  const ValueId x = m.input(counting(25, {1, 1, 5, 5}));
  const auto outputs = m.nodes(
      "MaxPool", {x}, 2, attributes({{"kernel_shape", Ints{5, 5}}, {"pads", Ints{2, 2, 2, 2}}}));
  const auto results = m.run(outputs);
  CHECK(results[0]->as_doubles() == Values{13, 14, 15, 15, 15, 18, 19, 20, 20, 20, 23, 24, 25,
                                           25, 25, 23, 24, 25, 25, 25, 23, 24, 25, 25, 25});
  CHECK(results[1]->as_ints() == Ints{12, 13, 14, 14, 14, 17, 18, 19, 19, 19, 22, 23, 24,
                                      24, 24, 22, 23, 24, 24, 24, 22, 23, 24, 24, 24});
  const auto columns = m.nodes("MaxPool", {x}, 2,
                               attributes({{"kernel_shape", Ints{2, 2}},
                                           {"strides", Ints{2, 2}},
                                           {"storage_order", std::int64_t{1}}}));
  const auto turned = m.run(columns);
  CHECK(turned[0]->as_doubles() == Values{7, 9, 17, 19});
  CHECK(turned[1]->as_ints() == Ints{6, 16, 8, 18});
}

TEST_CASE("with ceil_mode a last window counts that begins inside") {
  OpModel m;
  const ValueId x = m.input(counting(16, {1, 1, 4, 4}));
  CHECK(m.run(m.node("MaxPool", {x},
                     attributes({{"kernel_shape", Ints{3, 3}},
                                 {"strides", Ints{2, 2}},
                                 {"ceil_mode", std::int64_t{1}}}))) == Values{11, 12, 15, 16});
  // One that would begin in the padding at the end does not.
  OpModel n;
  const ValueId y = n.node(
      "MaxPool", {n.unknown(DataType::Float32, Shape{1, 1, 2, 2})},
      attributes(
          {{"kernel_shape", Ints{1, 1}}, {"strides", Ints{2, 2}}, {"ceil_mode", std::int64_t{1}}}));
  REQUIRE(n.infer().ok());
  CHECK(n.value(y).shape == Shape{1, 1, 1, 1});
}

TEST_CASE("AveragePool divides by what it met, or by the padding too") {
  OpModel m;
  const ValueId x = m.input(counting(4, {1, 1, 2, 2}));
  check_near(m.run(m.node("AveragePool", {x},
                          attributes({{"kernel_shape", Ints{2, 2}},
                                      {"pads", Ints{1, 1, 0, 0}},
                                      {"count_include_pad", std::int64_t{0}}}))),
             {1, 1.5, 2, 2.5});
  check_near(m.run(m.node("AveragePool", {x},
                          attributes({{"kernel_shape", Ints{2, 2}},
                                      {"pads", Ints{1, 1, 0, 0}},
                                      {"count_include_pad", std::int64_t{1}}}))),
             {0.25, 0.75, 1, 2.5});
}

TEST_CASE("auto_pad puts the odd one where it is told") {
  OpModel m;
  const ValueId x = m.input(counting(3, {1, 1, 3}));
  const auto pooled = [&](const char* where) {
    return m.run(m.node("MaxPool", {x},
                        attributes({{"kernel_shape", Ints{2}}, {"auto_pad", std::string(where)}})));
  };
  CHECK(pooled("SAME_UPPER") == Values{2, 3, 3});
  CHECK(pooled("SAME_LOWER") == Values{1, 2, 3});
  CHECK(pooled("VALID") == Values{2, 3});
}

TEST_CASE("LpPool and the global pools reduce by their formulas") {
  OpModel m;
  const ValueId x = m.input(floats({3, -4, 0, 12, 1, 1, 1, 1}, {1, 2, 2, 2}));
  check_near(m.run(m.node("LpPool", {x}, attributes({{"kernel_shape", Ints{1, 2}}}))),
             {5, 12, std::sqrt(2.0), std::sqrt(2.0)});
  check_near(m.run(m.node("GlobalLpPool", {x}, attributes({{"p", std::int64_t{3}}}))),
             {std::cbrt(27.0 + 64 + 1728), std::cbrt(4.0)});
  check_near(m.run(m.node("GlobalLpPool", {x}, attributes({{"p", 1.0f}}), 1)), {19, 4});
  CHECK(m.run(m.node("GlobalMaxPool", {x})) == Values{12, 1});
  CHECK(m.run(m.node("GlobalAveragePool", {x})) == Values{2.75, 1});
}
