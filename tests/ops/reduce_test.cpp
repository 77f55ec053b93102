#include <cmath>
#include <limits>

#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Values reduced(const char* op, std::vector<float> data, Shape shape, const Ints& axes) {
  OpModel m;
  return m.run(m.node(op, {m.input(floats(data, std::move(shape))), m.constant(ints(axes))}));
}

}  // namespace

TEST_CASE("each reduction follows its formula") {
  const std::vector<float> x = {1, -2, 3, 4, 5, -6};
  CHECK(reduced("ReduceSum", x, {2, 3}, {1}) == Values{2, 3});
  CHECK(reduced("ReduceMean", x, {2, 3}, {0}) == Values{2.5, 1.5, -1.5});
  CHECK(reduced("ReduceMax", x, {2, 3}, {-1}) == Values{3, 5});
  CHECK(reduced("ReduceMin", x, {2, 3}, {0, 1}) == Values{-6});
  CHECK(reduced("ReduceProd", x, {2, 3}, {1}) == Values{-6, -120});
  CHECK(reduced("ReduceL1", x, {2, 3}, {1}) == Values{6, 15});
  check_near(reduced("ReduceL2", x, {2, 3}, {1}), {std::sqrt(14.0), std::sqrt(77.0)});
  CHECK(reduced("ReduceSumSquare", x, {2, 3}, {1}) == Values{14, 77});
  check_near(reduced("ReduceLogSum", x, {2, 3}, {1}), {std::log(2.0), std::log(3.0)});
  check_near(reduced("ReduceLogSumExp", {1000, 1000, -1000, 0}, {2, 2}, {1}),
             {1000 + std::log(2.0), 0});
}

TEST_CASE("ReduceLogSumExp keeps infinities") {
  CHECK(reduced("ReduceLogSumExp", {-INFINITY, -INFINITY}, {2}, {0}) == Values{-kInfinity});
  CHECK(reduced("ReduceLogSumExp", {INFINITY, 1}, {2}, {0}) == Values{kInfinity});
}

TEST_CASE("a reduction of nothing gives its identity") {
  CHECK(reduced("ReduceSum", {}, {2, 0}, {1}) == Values{0, 0});
  CHECK(reduced("ReduceProd", {}, {2, 0}, {1}) == Values{1, 1});
  CHECK(reduced("ReduceMax", {}, {2, 0}, {1}) == Values{-kInfinity, -kInfinity});
  CHECK(reduced("ReduceMin", {}, {1, 0}, {1}) == Values{kInfinity});
  CHECK(reduced("ReduceLogSum", {}, {1, 0}, {1}) == Values{-kInfinity});
  CHECK(reduced("ReduceLogSumExp", {}, {1, 0}, {1}) == Values{-kInfinity});
}

TEST_CASE("no axes means all of them, or with noop_with_empty_axes none") {
  OpModel m;
  const ValueId x = m.input(floats({1, -2, 3, 4}, {2, 2}));
  CHECK(m.run(m.node("ReduceSum", {x})) == Values{6});
  const auto noop = attributes({{"noop_with_empty_axes", std::int64_t{1}}});
  CHECK(m.run(m.node("ReduceSum", {x}, noop)) == Values{1, -2, 3, 4});
  CHECK(m.run(m.node("ReduceSumSquare", {x}, noop)) == Values{1, 4, 9, 16});
}

TEST_CASE("axes were an attribute, and keepdims 0 drops them") {
  OpModel m;
  const ValueId x = m.unknown(DataType::Float32, Shape{2, 3, -1});
  const ValueId y =
      m.node("ReduceMean", {x}, attributes({{"axes", Ints{1}}, {"keepdims", std::int64_t{0}}}), 13);
  REQUIRE(m.infer().ok());
  CHECK(m.value(y).shape == Shape{2, -1});
}

TEST_CASE("axes not known yet leave only the rank known") {
  OpModel m;
  const ValueId x = m.unknown(DataType::Float32, Shape{2, 3});
  const ValueId axes = m.unknown(DataType::Int64, Shape{1});
  const ValueId kept = m.node("ReduceSum", {x, axes});
  const ValueId dropped =
      m.node("ReduceSum", {x, axes}, attributes({{"keepdims", std::int64_t{0}}}));
  REQUIRE(m.infer().ok());
  CHECK(m.value(kept).shape == Shape{-1, -1});
  CHECK(m.value(dropped).shape == Shape{-1});
}

TEST_CASE("integers and bool are reduced in their own type") {
  OpModel m;
  const ValueId i = m.input(tensor<std::int32_t>({3, 4, -7, 1}, {2, 2}));
  CHECK(m.run(m.node("ReduceL2", {i, m.constant(ints({1}))})) == Values{5, 7});
  CHECK(m.run(m.node("ReduceSum", {i, m.constant(ints({0}))})) == Values{-4, 5});
  const ValueId b = m.input(tensor<bool>({true, false, true, true}, {2, 2}));
  CHECK(m.run(m.node("ReduceMax", {b, m.constant(ints({1}))})) == Values{1, 1});
  CHECK(m.run(m.node("ReduceMin", {b, m.constant(ints({1}))})) == Values{0, 1});
}

TEST_CASE("ArgMax gives the first of equals, or the last") {
  OpModel m;
  const ValueId x = m.input(floats({2, 2, 1, 3, 10, 10}, {2, 3}));
  const auto axis = [](std::int64_t axis, std::int64_t last) {
    return attributes({{"axis", axis}, {"select_last_index", last}});
  };
  CHECK(m.run(m.node("ArgMax", {x}, axis(1, 0))) == Values{0, 1});
  CHECK(m.run(m.node("ArgMax", {x}, axis(1, 1))) == Values{1, 2});
  CHECK(m.run(m.node("ArgMin", {x}, axis(0, 0))) == Values{0, 0, 0});
}
