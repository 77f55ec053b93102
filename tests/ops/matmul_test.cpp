#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

std::optional<Shape> product_shape(Shape a, Shape b) {
  OpModel m;
  const ValueId y = m.node("MatMul", {m.unknown(DataType::Float32, std::move(a)),
                                      m.unknown(DataType::Float32, std::move(b))});
  return m.infer().ok() ? m.value(y).shape : std::nullopt;
}

Values einsum(const char* equation, const std::vector<ConstantPtr>& operands) {
  OpModel m;
  std::vector<ValueId> inputs;
  for (const ConstantPtr& operand : operands) inputs.push_back(m.input(operand));
  return m.run(m.node("Einsum", inputs, attributes({{"equation", std::string(equation)}})));
}

}  // namespace

TEST_CASE("MatMul's shapes are NumPy's") {
  CHECK(product_shape({3, 4}, {4, 5}) == Shape{3, 5});
  CHECK(product_shape({4}, {4}) == Shape{});
  CHECK(product_shape({4}, {2, 4, 5}) == Shape{2, 5});
  CHECK(product_shape({2, 3, 4}, {4}) == Shape{2, 3});
  CHECK(product_shape({7, 1, 3, 4}, {2, 4, 5}) == Shape{7, 2, 3, 5});
  CHECK(product_shape({-1, 4}, {4, 5}) == Shape{-1, 5});
  CHECK_FALSE(product_shape({3, 4}, {5, 4}).has_value());
}

TEST_CASE("MatMul multiplies vectors, batches and what broadcasts") {
  OpModel m;
  const ValueId v = m.input(floats({1, 2}, {2}));
  const ValueId a = m.input(floats({1, 2, 3, 4}, {2, 2}));
  const ValueId batch = m.input(floats({1, 0, 0, 1, 2, 0, 0, 2}, {2, 2, 2}));
  CHECK(m.run(m.node("MatMul", {v, v})) == Values{5});
  CHECK(m.run(m.node("MatMul", {v, a})) == Values{7, 10});
  CHECK(m.run(m.node("MatMul", {a, v})) == Values{5, 11});
  CHECK(m.run(m.node("MatMul", {batch, a})) == Values{1, 2, 3, 4, 2, 4, 6, 8});
  CHECK(m.run(m.node("MatMul", {a, batch})) == Values{1, 2, 3, 4, 2, 4, 6, 8});
}

TEST_CASE("Gemm scales, transposes and adds") {
  OpModel m;
  const ValueId a = m.input(floats({1, 2, 3, 4, 5, 6}, {3, 2}));
  const ValueId b = m.input(floats({1, 0, 1, 2, 1, 0}, {2, 3}));
  const ValueId c = m.input(floats({10, 20}, {2}));
  const auto both = attributes(
      {{"alpha", 0.5f}, {"beta", 2.0f}, {"transA", std::int64_t{1}}, {"transB", std::int64_t{1}}});
  // a' b' = [[1,3,5],[2,4,6]] [[1,2],[0,1],[1,0]] = [[6,5],[8,8]]
  CHECK(m.run(m.node("Gemm", {a, b, c}, both)) == Values{23, 42.5, 24, 44});
  CHECK(m.run(m.node("Gemm", {b, a})) == Values{6, 8, 5, 8});
}

TEST_CASE("MatMulInteger takes the zero points off") {
  OpModel m;
  const ValueId a = m.input(tensor<std::uint8_t>({11, 7, 3, 10, 6, 2, 9, 5, 1, 8, 4, 0}, {4, 3}));
  const ValueId b = m.input(tensor<std::uint8_t>({1, 4, 2, 5, 3, 6}, {3, 2}));
  const ValueId a_zero = m.constant(tensor<std::uint8_t>({12}, {1}));
  const ValueId b_zero = m.constant(tensor<std::uint8_t>({0}, {1}));
  CHECK(m.run(m.node("MatMulInteger", {a, b, a_zero, b_zero})) ==
        Values{-38, -83, -44, -98, -50, -113, -56, -128});
}

TEST_CASE("Einsum multiplies, sums, turns and takes diagonals") {
  const ConstantPtr a = floats({1, 2, 3, 4}, {2, 2});
  const ConstantPtr b = floats({5, 6, 7, 8}, {2, 2});
  const ConstantPtr v = floats({1, 10}, {2});
  CHECK(einsum("ij,jk->ik", {a, b}) == Values{19, 22, 43, 50});
  CHECK(einsum("ij,jk", {a, b}) == Values{19, 22, 43, 50});
  CHECK(einsum("ij->ji", {a}) == Values{1, 3, 2, 4});
  CHECK(einsum("ij->i", {a}) == Values{3, 7});
  CHECK(einsum("ii->i", {a}) == Values{1, 4});
  CHECK(einsum("i,i", {v, v}) == Values{101});
  CHECK(einsum("i,j->ji", {v, floats({1, 2, 3}, {3})}) == Values{1, 10, 2, 20, 3, 30});
  CHECK(einsum("ij,jk,k->i", {a, b, v}) == Values{239, 543});
  CHECK(einsum("...ij,...jk->...ik",
               {floats({1, 2, 3, 4, 1, 0, 0, 1}, {2, 2, 2}), floats({5, 6, 7, 8}, {1, 2, 2})}) ==
        Values{19, 22, 43, 50, 5, 6, 7, 8});
}

TEST_CASE("Einsum refuses labels of different sizes") {
  OpModel m;
  m.node("Einsum", {m.input(floats({1, 2}, {2})), m.input(floats({1, 2, 3}, {3}))},
         attributes({{"equation", std::string("i,i")}}));
  CHECK(m.infer().code() == Code::InvalidArgument);
}
