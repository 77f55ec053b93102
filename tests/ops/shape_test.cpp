#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

Attributes axis(const char* name, std::int64_t value) { return attributes({{name, value}}); }

// The shape that Reshape gives, or the error.
Result<Shape> reshaped(Shape from, const Ints& to, bool allow_zero = false) {
  OpModel m;
  const ValueId x = m.unknown(DataType::Float32, std::move(from));
  const ValueId y =
      m.node("Reshape", {x, m.constant(ints(to))}, axis("allowzero", allow_zero ? 1 : 0));
  if (Status status = m.infer(); !status.ok()) return status;
  return *m.value(y).shape;
}

}  // namespace

TEST_CASE("Shape of known sizes is a constant, of unknown ones a list of known length") {
  OpModel m;
  const ValueId known = m.node("Shape", {m.unknown(DataType::Float32, Shape{2, 3, 4})});
  const ValueId part =
      m.node("Shape", {m.unknown(DataType::Float32, Shape{-1, 3, 4})}, axis("start", -2));
  const ValueId open = m.node("Shape", {m.unknown(DataType::Float32, Shape{-1, 3})});
  const ValueId none = m.node("Shape", {m.unknown(DataType::Float32, Shape{2, 3})},
                              attributes({{"start", std::int64_t{2}}, {"end", std::int64_t{1}}}));
  REQUIRE(m.infer().ok());
  CHECK(m.value(known).constant->as_ints() == Ints{2, 3, 4});
  CHECK(m.value(part).constant->as_ints() == Ints{3, 4});
  CHECK_FALSE(m.value(open).constant);
  CHECK(m.value(open).shape == Shape{2});
  CHECK(m.value(open).dtype == DataType::Int64);
  CHECK(m.value(none).constant->as_ints().empty());
}

TEST_CASE("shape arithmetic goes through constants of inference") {
  OpModel m;
  const ValueId x = m.input(floats({1, 2, 3, 4, 5, 6}, {2, 3}));
  const ValueId y =
      m.node("Reshape", {x, m.node("Shape", {m.unknown(DataType::Float32, Shape{3, 2})})});
  REQUIRE(m.infer().ok());
  CHECK(m.value(y).shape == Shape{3, 2});
}

TEST_CASE("Size is the number of elements, as a scalar") {
  OpModel m;
  const ValueId y = m.node("Size", {m.unknown(DataType::Bool, Shape{2, 0, 4})});
  const ValueId z = m.node("Size", {m.unknown(DataType::Bool, Shape{2, 3})});
  REQUIRE(m.infer().ok());
  CHECK(m.value(y).constant->as_ints() == Ints{0});
  CHECK(m.value(z).constant->as_ints() == Ints{6});
  CHECK(m.value(z).shape == Shape{});
}

TEST_CASE("Reshape copies sizes for 0 and computes the one that is -1") {
  CHECK(*reshaped({2, 3, 4}, {0, -1}) == Shape{2, 12});
  CHECK(*reshaped({1}, {}) == Shape{});
  CHECK(*reshaped({2, 0}, {0, 0}) == Shape{2, 0});
  CHECK(*reshaped({0, 4}, {4, -1}) == Shape{4, 0});
  CHECK(*reshaped({0, 4}, {2, 0}, true) == Shape{2, 0});
  CHECK(*reshaped({-1, 4}, {0, 2, 2}) == Shape{-1, 2, 2});
  CHECK(*reshaped({-1, 4}, {-1}) == Shape{-1});
}

TEST_CASE("Reshape refuses shapes that do not hold the elements") {
  CHECK_FALSE(reshaped({2, 3}, {4}).ok());
  CHECK_FALSE(reshaped({2, 3}, {4, -1}).ok());
  CHECK_FALSE(reshaped({2, 3}, {-1, -1}).ok());
  CHECK_FALSE(reshaped({2, 3}, {-2}).ok());
  CHECK_FALSE(reshaped({2, 3}, {6, 1, 0}).ok());
  CHECK_FALSE(reshaped({0, 3}, {0, -1}, true).ok());
  CHECK_FALSE(reshaped({2}, {std::int64_t{1} << 62, 8}).ok());
}

TEST_CASE("Reshape to a shape not known yet says so") {
  OpModel m;
  const ValueId y = m.node(
      "Reshape", {m.unknown(DataType::Float32, Shape{4}), m.unknown(DataType::Int64, Shape{2})});
  REQUIRE(m.infer().ok());
  CHECK(m.value(y).shape == Shape{-1, -1});
}

TEST_CASE("Flatten cuts the axes in two") {
  OpModel m;
  const ValueId x = m.unknown(DataType::Float32, Shape{2, 3, 4});
  const ValueId a = m.node("Flatten", {x});
  const ValueId b = m.node("Flatten", {x}, axis("axis", -1));
  const ValueId c = m.node("Flatten", {x}, axis("axis", 0));
  const ValueId d = m.node("Flatten", {m.unknown(DataType::Float32, Shape{-1, 3, 4})});
  REQUIRE(m.infer().ok());
  CHECK(m.value(a).shape == Shape{2, 12});
  CHECK(m.value(b).shape == Shape{6, 4});
  CHECK(m.value(c).shape == Shape{1, 24});
  CHECK(m.value(d).shape == Shape{-1, 12});
}

TEST_CASE("Squeeze and Unsqueeze take axes as input, and as attribute before opset 13") {
  OpModel m;
  const ValueId x = m.input(floats({1, 2}, {1, 2, 1}));
  const ValueId a = m.node("Squeeze", {x});
  const ValueId b = m.node("Squeeze", {x, m.constant(ints({-1}))});
  const ValueId c = m.node("Squeeze", {x}, attributes({{"axes", Ints{0}}}), 11);
  const ValueId d = m.node("Unsqueeze", {a, m.constant(ints({-1, 0}))});
  const ValueId e = m.node("Unsqueeze", {a}, attributes({{"axes", Ints{1}}}), 11);
  CHECK(m.run({a, b, c, d, e}).size() == 5);
  CHECK(m.value(a).shape == Shape{2});
  CHECK(m.value(b).shape == Shape{1, 2});
  CHECK(m.value(c).shape == Shape{2, 1});
  CHECK(m.value(d).shape == Shape{1, 2, 1});
  CHECK(m.value(e).shape == Shape{2, 1});
  OpModel wrong;
  wrong.node("Squeeze", {wrong.unknown(DataType::Float32, Shape{2, 1}), wrong.constant(ints({0}))});
  CHECK_FALSE(wrong.infer().ok());
}

TEST_CASE("views move nothing") {
  OpModel m;
  const ValueId x = m.input(floats({1, 2, 3, 4}, {2, 2}));
  const ValueId y =
      m.node("Unsqueeze", {m.node("Flatten", {m.node("Identity", {x})}), m.constant(ints({0}))});
  Result<Graph> kernels = m.lowered({y});
  REQUIRE(kernels.ok());
  for (const Node& node : kernels->nodes()) CHECK(node.op == "view");
  CHECK(m.run(y) == Values{1, 2, 3, 4});
}

TEST_CASE("Dropout drops nothing outside training and says so in its mask") {
  OpModel m;
  const ValueId x = m.input(floats({1, 2}, {2}));
  const auto y = m.nodes("Dropout", {x}, 2, attributes({{"ratio", 0.9f}}), 7);
  const auto results = m.run(y);
  CHECK(results[0]->as_doubles() == Values{1, 2});
  CHECK(results[1]->as_doubles() == Values{1, 1});
  OpModel trains;
  const ValueId t = trains.node("Dropout", {trains.input(floats({1}, {1})), kNoValue,
                                            trains.constant(tensor<bool>({true}, {}))});
  CHECK(trains.lowered({t}).status().code() == Code::Unsupported);
}
