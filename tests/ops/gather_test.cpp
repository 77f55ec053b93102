#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

ConstantPtr indices(const Ints& values, Shape shape) {
  return tensor<std::int64_t>(values, std::move(shape));
}

}  // namespace

TEST_CASE("Gather puts the indices' axes in the place of its own") {
  OpModel m;
  const ValueId x = m.input(floats({1, 2, 3, 4, 5, 6}, {2, 3}));
  const auto axis = attributes({{"axis", std::int64_t{1}}});
  CHECK(m.run(m.node("Gather", {x, m.input(indices({2, 0, -1, 1}, {2, 2}))}, axis)) ==
        Values{3, 1, 3, 2, 6, 4, 6, 5});
  CHECK(m.run(m.node("Gather", {x, m.input(indices({1}, {}))})) == Values{4, 5, 6});
  const ValueId y = m.node(
      "Gather",
      {m.unknown(DataType::Float32, Shape{-1, 3, 4}), m.unknown(DataType::Int64, Shape{2, -1})},
      axis);
  REQUIRE(m.infer().ok());
  CHECK(m.value(y).shape == Shape{-1, 2, -1, 4});
}

TEST_CASE("GatherElements replaces one number of each position") {
  OpModel m;
  const ValueId x = m.input(floats({1, 2, 3, 4}, {2, 2}));
  CHECK(m.run(m.node("GatherElements", {x, m.input(indices({0, 0, 1, 0}, {2, 2}))},
                     attributes({{"axis", std::int64_t{1}}}))) == Values{1, 1, 4, 3});
}

TEST_CASE("GatherND takes positions, after its batches") {
  OpModel m;
  const ValueId x = m.input(floats({0, 1, 2, 3, 4, 5, 6, 7}, {2, 2, 2}));
  CHECK(m.run(m.node("GatherND", {x, m.input(indices({0, 1, 1, 0}, {2, 2}))})) ==
        Values{2, 3, 4, 5});
  CHECK(m.run(m.node("GatherND", {x, m.input(indices({1, 0}, {2, 1}))},
                     attributes({{"batch_dims", std::int64_t{1}}}))) == Values{2, 3, 4, 5});
}

TEST_CASE("scatters are checked before they are lowered") {
  const auto fails = [](const char* op, Shape data, Shape at, Shape updates) {
    OpModel m;
    m.node(op, {m.unknown(DataType::Float32, std::move(data)),
                m.unknown(DataType::Int64, std::move(at)),
                m.unknown(DataType::Float32, std::move(updates))});
    return m.infer().code() == Code::InvalidArgument;
  };
  CHECK_FALSE(fails("ScatterElements", {3, 3}, {1, 2}, {1, 2}));
  CHECK(fails("ScatterElements", {3, 3}, {1, 2}, {2, 1}));
  CHECK_FALSE(fails("ScatterND", {4, 4, 4}, {2, 1}, {2, 4, 4}));
  CHECK(fails("ScatterND", {4, 4, 4}, {2, 1}, {2, 4}));
  CHECK(fails("ScatterND", {4}, {2, 2}, {2}));
}

TEST_CASE("Scatter became ScatterElements") {
  OpModel m;
  const ValueId y =
      m.node("Scatter",
             {m.unknown(DataType::Float32, Shape{3, 3}), m.unknown(DataType::Int64, Shape{1, 2}),
              m.unknown(DataType::Float32, Shape{1, 2})},
             {}, 9);
  REQUIRE(m.infer().ok());
  CHECK(m.value(y).shape == Shape{3, 3});
  CHECK(m.graph.node(m.graph.value(y).producer).op == "ScatterElements");
}

TEST_CASE("Compress became Gather by the positions where its condition holds") {
  OpModel m;
  const ValueId x = m.unknown(DataType::Float32, Shape{3, 2});
  const ValueId condition = m.unknown(DataType::Bool, Shape{3});
  const ValueId rows = m.node("Compress", {x, condition}, attributes({{"axis", std::int64_t{0}}}));
  const ValueId flat = m.node("Compress", {x, condition});
  REQUIRE(m.infer().ok());
  CHECK(m.value(rows).shape == Shape{-1, 2});
  CHECK(m.value(flat).shape == Shape{-1});
}
