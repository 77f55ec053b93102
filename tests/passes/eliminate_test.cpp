#include "tests/support/graph_runner.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

TEST_SUITE("passes.eliminate") {
  TEST_CASE("operators that change nothing go, and results stay") {
    std::mt19937 random(1);
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {2, 3});
    const ValueId same = b.node("Identity", {b.node("Identity", {x})});
    Attributes to;
    to.set("to", std::int64_t{1});
    const ValueId cast = b.node("Cast", {same}, to);
    Attributes perm;
    perm.set("perm", std::vector<std::int64_t>{0, 1});
    const ValueId kept = b.node("Transpose", {cast}, perm);
    b.output(b.node("Relu", {b.node("Dropout", {b.node("Sum", {kept})})}));
    const Tensor input = random_floats(random, {2, 3});
    check_same_results(b.graph, {input}, "eliminate");

    PassContext context;
    Graph graph = b.graph;
    CHECK(fold(graph, context).value() == 0);
    CHECK(eliminate(graph, context).value() == 6);
    graph.compact();
    CHECK(graph.node_count() == 1);
  }

  TEST_CASE("a model that gives its input back still does") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {4});
    b.output(b.node("Identity", {x}));
    std::mt19937 random(2);
    const Tensor input = random_floats(random, {4});
    const GraphRun run = run_graph(b.graph, {input});
    check_close(run.outputs[0], input, 0, 0);
    CHECK(run.outputs[0].block().host != input.block().host);
  }

  TEST_CASE("a Cast to another type and a Dropout whose mask is wanted stay") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {4});
    Attributes to;
    to.set("to", std::int64_t{7});
    b.output(b.node("Cast", {x}, to));
    const auto dropout = b.nodes("Dropout", {x}, 2);
    b.output(dropout[0]);
    b.output(dropout[1]);
    PassContext context;
    Graph graph = b.graph;
    (void)fold(graph, context);
    CHECK(eliminate(graph, context).value() == 0);
  }
}

}  // namespace
