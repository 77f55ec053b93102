#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

TEST_CASE("binary operators broadcast both ways") {
  OpModel m;
  const ValueId a = m.input(floats({1, 2, 3}, {3, 1}));
  const ValueId b = m.input(floats({10, 20}, {2}));
  const ValueId y = m.node("Sub", {b, a});
  CHECK(m.run(y) == Values{9, 19, 8, 18, 7, 17});
  CHECK(m.value(y).shape == Shape{3, 2});
}

TEST_CASE("operands of different types are refused") {
  OpModel m;
  m.node("Add", {m.input(floats({1}, {1})), m.input(ints({1}))});
  CHECK(m.infer().code() == Code::InvalidArgument);
}

TEST_CASE("Greater and GreaterOrEqual are Less the other way round") {
  OpModel m;
  const ValueId a = m.input(ints({1, 2, 3}));
  const ValueId b = m.input(ints({2, 2, 2}));
  CHECK(m.run(m.node("Greater", {a, b})) == Values{0, 0, 1});
  CHECK(m.run(m.node("GreaterOrEqual", {a, b})) == Values{0, 1, 1});
  CHECK(m.run(m.node("Less", {a, b})) == Values{1, 0, 0});
}

TEST_CASE("Mod takes the divisor's sign and with fmod the dividend's") {
  OpModel m;
  const ValueId a = m.input(ints({-4, 7, 5}));
  const ValueId b = m.input(ints({3, -3, 3}));
  CHECK(m.run(m.node("Mod", {a, b})) == Values{2, -2, 2});
  CHECK(m.run(m.node("Mod", {a, b}, attributes({{"fmod", std::int64_t{1}}}))) == Values{-1, 1, 2});
}

TEST_CASE("Pow keeps the base's type and computes where the exponent is fractional") {
  OpModel m;
  const ValueId base = m.input(tensor<std::int32_t>({4, 9, 2}, {3}));
  const ValueId exponent = m.input(floats({0.5f, 1.5f, 3}, {3}));
  const ValueId y = m.node("Pow", {base, exponent});
  CHECK(m.run(y) == Values{2, 27, 8});
  CHECK(m.value(y).dtype == DataType::Int32);
}

TEST_CASE("BitShift to the right brings in the sign") {
  OpModel m;
  const ValueId x = m.input(tensor<std::int8_t>({-128, -1, 100, -8}, {4}));
  const ValueId by = m.input(tensor<std::int8_t>({1, 7, 2, -1}, {4}));
  const auto right = attributes({{"direction", std::string("RIGHT")}});
  const auto left = attributes({{"direction", std::string("LEFT")}});
  CHECK(m.run(m.node("BitShift", {x, by}, right)) == Values{-64, -1, 25, -1});
  CHECK(m.run(m.node("BitShift", {x, by}, left)) == Values{0, -128, -112, 0});
}

TEST_CASE("a sum of many operands is split and still a sum") {
  OpModel m;
  std::vector<ValueId> operands;
  for (int i = 1; i <= 21; ++i) {
    operands.push_back(
        m.input(floats({static_cast<float>(i), 1}, i % 2 == 0 ? Shape{2} : Shape{1, 2})));
  }
  check_near(m.run(m.node("Sum", operands)), {231, 21});
  check_near(m.run(m.node("Mean", operands)), {11, 1});
  check_near(m.run(m.node("Max", operands)), {21, 1});
}

TEST_CASE("a mean of one operand is that operand") {
  OpModel m;
  CHECK(m.run(m.node("Mean", {m.input(floats({3}, {1}))})) == Values{3});
}

TEST_CASE("Where chooses, all three operands broadcast") {
  OpModel m;
  const ValueId c = m.input(tensor<bool>({true, false}, {2, 1}));
  const ValueId y =
      m.node("Where", {c, m.input(ints({1, 2})), m.input(tensor<std::int64_t>({9}, {}))});
  CHECK(m.run(y) == Values{1, 2, 9, 9});
}

TEST_CASE("before opset 7 the axis of a broadcast was named") {
  OpModel m;
  const ValueId a = m.input(floats({0, 0, 0, 0, 0, 0, 0, 0}, {2, 2, 2}));
  const ValueId b = m.input(floats({1, 2}, {2}));
  const auto named = attributes({{"broadcast", std::int64_t{1}}, {"axis", std::int64_t{1}}});
  CHECK(m.run(m.node("Add", {a, b}, named, 6)) == Values{1, 1, 2, 2, 1, 1, 2, 2});
  CHECK(m.run(m.node("Add", {a, b}, attributes({{"broadcast", std::int64_t{1}}}), 6)) ==
        Values{1, 2, 1, 2, 1, 2, 1, 2});
}

TEST_CASE("tensors of a rank above the boundary's are collapsed where that is possible") {
  OpModel m;
  const ValueId a = m.input(floats({1, 2, 3, 4}, {1, 1, 1, 2, 1, 1, 1, 1, 1, 2}));
  const ValueId b = m.input(floats({10, 20}, {1, 2}));
  CHECK(m.run(m.node("Add", {a, b})) == Values{11, 22, 13, 24});

  OpModel hard;
  const ValueId c = hard.input(floats(std::vector<float>(32, 1), {2, 1, 2, 1, 2, 1, 2, 1, 2}));
  const ValueId d = hard.input(floats(std::vector<float>(16, 1), {1, 2, 1, 2, 1, 2, 1, 2, 1}));
  Result<Graph> kernels = hard.lowered({hard.node("Add", {c, d})});
  REQUIRE_FALSE(kernels.ok());
  CHECK(kernels.status().code() == Code::Unsupported);
  CHECK(kernels.status().message().find("rank 9") != std::string::npos);
}
