#include "tests/support/graph_runner.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

// x reshaped by its own shape, worked out as exporters do: Shape, Gather, Concat.
Graph shape_arithmetic() {
  GraphBuilder b;
  const ValueId x = b.input(DataType::Float32, {2, 3, 4});
  const ValueId shape = b.node("Shape", {x});
  const ValueId batch = b.node("Gather", {shape, b.ints({0})});
  Attributes axis;
  axis.set("axis", std::int64_t{0});
  const ValueId target = b.node("Concat", {batch, b.ints({-1})}, axis);
  b.output(b.node("Reshape", {x, target}));
  return b.graph;
}

TEST_SUITE("passes.fold") {
  TEST_CASE("shape arithmetic disappears when sizes are known") {
    Graph graph = shape_arithmetic();
    PassContext context;
    context.evaluate = make_evaluator(host_device());
    CHECK(fold(graph, context).value() == 3);
    graph.compact();
    CHECK(graph.node_count() == 1);
    CHECK(*graph.value(graph.outputs[0]).shape == Shape{2, 12});
  }

  TEST_CASE("folding changes no result") {
    std::mt19937 random(3);
    check_same_results(shape_arithmetic(), {random_floats(random, {2, 3, 4})}, "fold");
  }

  TEST_CASE("what would exceed the budget stays a node") {
    GraphBuilder b;
    const ValueId big = b.node("ConstantOfShape", {b.ints({1024, 1024})});
    b.output(b.node("ReduceSum", {big}));
    PassContext context;
    context.evaluate = make_evaluator(host_device());
    context.fold_value_bytes = 1 << 20;
    CHECK(fold(b.graph, context).value() == 0);
    context.fold_value_bytes = 1 << 23;
    CHECK(fold(b.graph, context).value() == 2);
  }
}

}  // namespace
