// ConstantOfShape, Range, OneHot, Trilu, EyeLike, ReverseSequence.

#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

template <class T>
Values range(T start, T limit, T delta) {
  OpModel m;
  const auto scalar = [&](T v) { return m.constant(tensor<T>({v}, {})); };
  return m.run(m.node("Range", {scalar(start), scalar(limit), scalar(delta)}));
}

}  // namespace

TEST_CASE("a Constant is known once it is inferred") {
  OpModel m;
  const ValueId a = m.node("Constant", {}, attributes({{"value_ints", Ints{1, 2}}}));
  const ValueId b = m.node("Constant", {}, attributes({{"value", floats({3}, {1, 1})}}));
  REQUIRE(m.infer().ok());
  CHECK(m.value(a).constant->as_ints() == Ints{1, 2});
  CHECK(m.value(b).shape == Shape{1, 1});
}

TEST_CASE("ConstantOfShape repeats its value, float32 zero unless told") {
  OpModel m;
  const ValueId a = m.node("ConstantOfShape", {m.constant(ints({2, 2}))});
  const ValueId b =
      m.node("ConstantOfShape", {m.constant(ints({}))}, attributes({{"value", ints({7})}}));
  CHECK(m.run(a) == Values{0, 0, 0, 0});
  CHECK(m.value(a).dtype == DataType::Float32);
  CHECK(m.run(b) == Values{7});
  CHECK(m.value(b).shape == Shape{});
}

TEST_CASE("Range counts up and down and may be empty") {
  CHECK(range<std::int64_t>(3, 9, 3) == Values{3, 6});
  CHECK(range<std::int64_t>(10, 4, -2) == Values{10, 8, 6});
  CHECK(range<std::int64_t>(3, 3, 1).empty());
  CHECK(range<std::int64_t>(3, 9, -1).empty());
  CHECK(range<std::int32_t>(0, 7, 3) == Values{0, 3, 6});
  CHECK(range<float>(0, 1, 0.25f) == Values{0, 0.25, 0.5, 0.75});
  CHECK(range<std::int64_t>(INT64_MIN, INT64_MAX, INT64_MAX).size() == 3);
}

TEST_CASE("a Range that never ends, or not before memory does, is refused") {
  OpModel m;
  const ValueId zero = m.constant(ints({0}));
  m.node("Range", {zero, m.constant(ints({5})), zero});
  CHECK(m.infer().code() == Code::InvalidArgument);
  OpModel n;
  const ValueId y = n.node(
      "Range",
      {n.constant(ints({0})), n.constant(ints({std::int64_t{1} << 40})), n.constant(ints({1}))});
  CHECK(n.lowered({y}).status().code() == Code::LimitExceeded);
}

TEST_CASE("OneHot marks positions, counting negative ones from the end") {
  OpModel m;
  const ValueId indices = m.input(ints({1, -1, 5}));
  const ValueId depth = m.constant(ints({3}));
  const ValueId values = m.input(floats({2, 9}, {2}));
  CHECK(m.run(m.node("OneHot", {indices, depth, values})) == Values{2, 9, 2, 2, 2, 9, 2, 2, 2});
  CHECK(
      m.run(m.node("OneHot", {indices, depth, values}, attributes({{"axis", std::int64_t{0}}}))) ==
      Values{2, 2, 2, 9, 2, 2, 2, 9, 2});
}

TEST_CASE("Trilu keeps one side of a diagonal") {
  OpModel m;
  const ValueId x = m.input(ints({1, 2, 3, 4, 5, 6}));
  const ValueId matrix = m.node("Reshape", {x, m.constant(ints({2, 3}))});
  const auto lower = attributes({{"upper", std::int64_t{0}}});
  const auto k = [&](std::int64_t value) { return m.constant(tensor<std::int64_t>({value}, {})); };
  CHECK(m.run(m.node("Trilu", {matrix})) == Values{1, 2, 3, 0, 5, 6});
  CHECK(m.run(m.node("Trilu", {matrix, k(1)})) == Values{0, 2, 3, 0, 0, 6});
  CHECK(m.run(m.node("Trilu", {matrix}, lower)) == Values{1, 0, 0, 4, 5, 0});
  CHECK(m.run(m.node("Trilu", {matrix, k(-1)}, lower)) == Values{0, 0, 0, 4, 0, 0});
  CHECK(m.run(m.node("Trilu", {matrix, k(INT64_MIN)})) == Values{1, 2, 3, 4, 5, 6});
}

TEST_CASE("EyeLike marks a diagonal") {
  OpModel m;
  const ValueId x = m.input(floats({0, 0, 0, 0, 0, 0}, {2, 3}));
  const auto at = [](std::int64_t k) { return attributes({{"k", k}}); };
  CHECK(m.run(m.node("EyeLike", {x})) == Values{1, 0, 0, 0, 1, 0});
  CHECK(m.run(m.node("EyeLike", {x}, at(2))) == Values{0, 0, 1, 0, 0, 0});
  CHECK(m.run(m.node("EyeLike", {x}, at(-1))) == Values{0, 0, 0, 1, 0, 0});
  CHECK(m.run(m.node("EyeLike", {x}, at(INT64_MAX))) == Values{0, 0, 0, 0, 0, 0});
}

TEST_CASE("ReverseSequence turns each sequence round up to its length") {
  OpModel m;
  const ValueId x = m.input(floats({0, 1, 2, 3, 4, 5, 6, 7}, {2, 2, 2}));
  const ValueId lengths = m.input(ints({1, 2}));
  CHECK(m.run(m.node("ReverseSequence", {x, lengths})) == Values{0, 1, 6, 7, 4, 5, 2, 3});
  const auto batch_first =
      attributes({{"batch_axis", std::int64_t{0}}, {"time_axis", std::int64_t{1}}});
  CHECK(m.run(m.node("ReverseSequence", {x, lengths}, batch_first)) ==
        Values{0, 1, 2, 3, 6, 7, 4, 5});
}

TEST_CASE("tables of positions do not grow without limit") {
  OpModel m;
  const ValueId y = m.node("Trilu", {m.unknown(DataType::Int8, Shape{std::int64_t{1} << 40, 1})});
  CHECK(m.lowered({y}).status().code() == Code::LimitExceeded);
}
