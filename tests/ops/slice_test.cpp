#include <limits>

#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

Values sliced(std::int64_t size, std::int64_t start, std::int64_t end, std::int64_t step) {
  OpModel m;
  std::vector<float> data;
  for (std::int64_t i = 0; i < size; ++i) data.push_back(static_cast<float>(i));
  return m.run(
      m.node("Slice", {m.input(floats(data, {size})), m.constant(ints({start})),
                       m.constant(ints({end})), m.constant(ints({0})), m.constant(ints({step}))}));
}

}  // namespace

TEST_CASE("Slice clamps as Python does") {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  CHECK(sliced(5, 1, 4, 1) == Values{1, 2, 3});
  CHECK(sliced(5, -2, kMax, 1) == Values{3, 4});
  CHECK(sliced(5, -9, 2, 1) == Values{0, 1});
  CHECK(sliced(5, 0, 5, 2) == Values{0, 2, 4});
  CHECK(sliced(5, 3, 1, 1).empty());
  CHECK(sliced(5, 9, 12, 1).empty());
  CHECK(sliced(5, kMax, kMin, -1) == Values{4, 3, 2, 1, 0});
  CHECK(sliced(5, 3, 0, -2) == Values{3, 1});
  CHECK(sliced(5, 3, -1, -1).empty());
  CHECK(sliced(5, 0, 5, kMax) == Values{0});
  CHECK(sliced(5, 4, kMin, kMin) == Values{4});
  CHECK(sliced(0, 0, 3, 1).empty());
  CHECK(sliced(0, kMax, kMin, -1).empty());
}

TEST_CASE("Slice cuts several axes at once, and by attributes before opset 10") {
  OpModel m;
  const ValueId x = m.input(floats({0, 1, 2, 3, 4, 5, 6, 7, 8}, {3, 3}));
  CHECK(m.run(m.node("Slice", {x, m.constant(ints({1, -1})), m.constant(ints({3, -9})),
                               m.constant(ints({0, 1})), m.constant(ints({1, -1}))})) ==
        Values{5, 4, 3, 8, 7, 6});
  CHECK(m.run(m.node("Slice", {x},
                     attributes({{"starts", Ints{1}}, {"ends", Ints{9}}, {"axes", Ints{1}}}), 9)) ==
        Values{1, 2, 4, 5, 7, 8});
}

TEST_CASE("Slice by numbers not known yet leaves the other axes known") {
  OpModel m;
  const ValueId start = m.unknown(DataType::Int64, Shape{1});
  const ValueId y = m.node(
      "Slice", {m.unknown(DataType::Float32, Shape{2, 3}), start, start, m.constant(ints({-1}))});
  REQUIRE(m.infer().ok());
  CHECK(m.value(y).shape == Shape{2, -1});
}

TEST_CASE("a step of 0 and lists of different lengths are refused") {
  OpModel m;
  const ValueId x = m.unknown(DataType::Float32, Shape{2, 3});
  m.node("Slice",
         {x, m.constant(ints({0})), m.constant(ints({1})), kNoValue, m.constant(ints({0}))});
  CHECK(m.infer().code() == Code::InvalidArgument);
  OpModel n;
  n.node("Slice",
         {n.unknown(DataType::Float32, Shape{2}), n.constant(ints({0})), n.constant(ints({1, 2}))});
  CHECK(n.infer().code() == Code::InvalidArgument);
}

TEST_CASE("Split cuts evenly, the last part being shorter, or as told") {
  OpModel m;
  const ValueId x = m.input(floats({0, 1, 2, 3, 4}, {1, 5}));
  const auto even = m.nodes("Split", {x}, 3, attributes({{"axis", std::int64_t{1}}}));
  auto results = m.run(even);
  CHECK(results[0]->as_doubles() == Values{0, 1});
  CHECK(results[1]->as_doubles() == Values{2, 3});
  CHECK(results[2]->as_doubles() == Values{4});
  const auto told = m.nodes("Split", {x, m.constant(ints({4, 0, 1}))}, 3,
                            attributes({{"axis", std::int64_t{-1}}}));
  results = m.run(told);
  CHECK(results[0]->as_doubles() == Values{0, 1, 2, 3});
  CHECK(results[1]->as_doubles().empty());
  CHECK(results[2]->as_doubles() == Values{4});
  const auto old =
      m.nodes("Split", {x}, 2, attributes({{"axis", std::int64_t{1}}, {"split", Ints{2, 3}}}), 11);
  results = m.run(old);
  CHECK(results[1]->as_doubles() == Values{2, 3, 4});
}

TEST_CASE("Split refuses parts that do not fill the axis") {
  OpModel m;
  m.nodes("Split", {m.unknown(DataType::Float32, Shape{5}), m.constant(ints({2, 2}))}, 2);
  CHECK(m.infer().code() == Code::InvalidArgument);
  OpModel n;
  n.nodes("Split", {n.unknown(DataType::Float32, Shape{5})}, 2,
          attributes({{"num_outputs", std::int64_t{3}}}));
  CHECK(n.infer().code() == Code::InvalidArgument);
}

TEST_CASE("Concat joins along its axis, empty inputs too") {
  OpModel m;
  const ValueId a = m.input(floats({1, 2, 3, 4}, {2, 2}));
  const ValueId b = m.input(floats({5, 6}, {2, 1}));
  const ValueId none = m.input(floats({}, {2, 0}));
  const auto last = attributes({{"axis", std::int64_t{-1}}});
  CHECK(m.run(m.node("Concat", {a, none, b}, last)) == Values{1, 2, 5, 3, 4, 6});
  CHECK(m.run(m.node("Concat", {b, b}, attributes({{"axis", std::int64_t{0}}}))) ==
        Values{5, 6, 5, 6});
  OpModel wrong;
  wrong.node("Concat", {wrong.input(floats({1, 2}, {1, 2})), wrong.input(floats({1}, {1, 1}))},
             attributes({{"axis", std::int64_t{0}}}));
  CHECK_FALSE(wrong.infer().ok());
}

TEST_CASE("Concat knows of a joined axis only what all inputs know") {
  OpModel m;
  const ValueId y = m.node(
      "Concat",
      {m.unknown(DataType::Float32, Shape{-1, 3}), m.unknown(DataType::Float32, Shape{2, -1})},
      attributes({{"axis", std::int64_t{0}}}));
  REQUIRE(m.infer().ok());
  CHECK(m.value(y).shape == Shape{-1, 3});
}
