#include <limits>

#include "miniinfer/abi/op/select.h"

#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

const Node& only_node(const Graph& graph, std::string_view op) {
  for (const Node& node : graph.nodes()) {
    if (!node.removed && node.op == op) return node;
  }
  REQUIRE_MESSAGE(false, "no such node");
  return graph.node(0);
}

}  // namespace

TEST_CASE("TopK gives k along its axis, by an attribute in opset 1") {
  OpModel m;
  const ValueId x = m.unknown(DataType::Float32, Shape{3, 4});
  const auto now =
      m.nodes("TopK", {x, m.constant(ints({2}))}, 2, attributes({{"axis", std::int64_t{0}}}));
  const auto old = m.nodes("TopK", {x}, 2, attributes({{"k", std::int64_t{3}}}), 1);
  const auto later = m.nodes("TopK", {x, m.unknown(DataType::Int64, Shape{1})}, 2);
  REQUIRE(m.infer().ok());
  CHECK(m.value(now[0]).shape == Shape{2, 4});
  CHECK(m.value(now[1]).dtype == DataType::Int64);
  CHECK(m.value(old[1]).shape == Shape{3, 3});
  CHECK(m.value(later[0]).shape == Shape{3, -1});
  OpModel n;
  n.nodes("TopK", {n.unknown(DataType::Float32, Shape{3, 4}), n.constant(ints({5}))}, 2);
  CHECK(n.infer().code() == Code::InvalidArgument);
}

TEST_CASE("what depends on data has room for all there can be, and a count") {
  OpModel m;
  const ValueId y = m.node("NonZero", {m.input(floats({1, 0, 3, 4, 0, 1}, {2, 3}))});
  Result<Graph> lowered = m.lowered({y});
  REQUIRE(lowered.ok());
  CHECK(m.value(y).shape == Shape{2, -1});
  const Node& node = only_node(*lowered, MINIINFER_NON_ZERO);
  REQUIRE(node.outputs.size() == 2);
  CHECK(lowered->value(node.outputs[0]).shape == Shape{2, 6});
  CHECK(lowered->value(node.outputs[1]).shape == Shape{1});
}

TEST_CASE("NonMaxSuppression gives at most so many rows a class") {
  OpModel m;
  const ValueId boxes = m.input(floats(std::vector<float>(2 * 6 * 4), {2, 6, 4}));
  const ValueId scores = m.input(floats(std::vector<float>(2 * 3 * 6), {2, 3, 6}));
  const ValueId y = m.node("NonMaxSuppression",
                           {boxes, scores, m.constant(ints({4})), m.constant(floats({0.5f}, {1}))});
  Result<Graph> lowered = m.lowered({y});
  REQUIRE(lowered.ok());
  const Node& node = only_node(*lowered, MINIINFER_NON_MAX_SUPPRESSION);
  CHECK(lowered->value(node.outputs[0]).shape == Shape{24, 3});
  const auto& attrs = *static_cast<const miniinfer_non_max_suppression_attrs*>(node.kernel->abi());
  CHECK(attrs.max_per_class == 4);
  CHECK(attrs.iou_threshold == 0.5f);
  CHECK(attrs.score_threshold == -std::numeric_limits<float>::infinity());
}

TEST_CASE("CumProd multiplies on, with or without the element itself, from either end") {
  OpModel m;
  const ValueId x = m.input(floats({2, 3, 4, 1, 5, 2}, {2, 3}));
  const ValueId axis = m.constant(ints({1}));
  const auto with = [](std::int64_t exclusive, std::int64_t reverse) {
    return attributes({{"exclusive", exclusive}, {"reverse", reverse}});
  };
  CHECK(m.run(m.node("CumProd", {x, axis})) == Values{2, 6, 24, 1, 5, 10});
  CHECK(m.run(m.node("CumProd", {x, axis}, with(1, 0))) == Values{1, 2, 6, 1, 1, 5});
  CHECK(m.run(m.node("CumProd", {x, axis}, with(0, 1))) == Values{24, 12, 4, 10, 10, 2});
  CHECK(m.run(m.node("CumProd", {x, axis}, with(1, 1))) == Values{12, 4, 1, 10, 2, 1});
}
