#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

Attributes to(DataType type) { return attributes({{"to", static_cast<std::int64_t>(type)}}); }

}  // namespace

TEST_CASE("Cast truncates, and any number but zero is true") {
  OpModel m;
  const ValueId x = m.input(floats({-1.5f, 0, 2.5f}, {3}));
  CHECK(m.run(m.node("Cast", {x}, to(DataType::Int32))) == Values{-1, 0, 2});
  CHECK(m.run(m.node("Cast", {x}, to(DataType::Bool))) == Values{1, 0, 1});
}

TEST_CASE("a cast to its own type is nothing") {
  OpModel m;
  const ValueId y = m.node("Cast", {m.input(ints({1}))}, to(DataType::Int64));
  Result<Graph> kernels = m.lowered({y});
  REQUIRE(kernels.ok());
  CHECK(kernels->node_count() == 0);
}

TEST_CASE("CastLike takes the type of its second input") {
  OpModel m;
  const ValueId y = m.node("CastLike", {m.input(ints({3})), m.input(floats({}, {0}))});
  CHECK(m.run(y) == Values{3});
  CHECK(m.value(y).dtype == DataType::Float32);
}

TEST_CASE("in opset 1 the type was a name") {
  OpModel m;
  const ValueId y =
      m.node("Cast", {m.input(ints({3}))}, attributes({{"to", std::string("DOUBLE")}}), 1);
  CHECK(m.run(y) == Values{3});
  CHECK(m.value(y).dtype == DataType::Float64);
}

TEST_CASE("a cast to what is no type is refused") {
  OpModel m;
  m.node("Cast", {m.input(ints({3}))}, attributes({{"to", std::int64_t{99}}}));
  CHECK(m.infer().code() == Code::InvalidArgument);
}
