#include "tests/support/graph_runner.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

Attributes with(const char* name, AttributeValue value) {
  Attributes attributes;
  attributes.set(name, std::move(value));
  return attributes;
}

// How many nodes the pass takes from the graph.
int shared(Graph graph) {
  PassContext context;
  const int count = share_equal(graph, context).value();
  const std::size_t before = graph.node_count();
  graph.compact();
  REQUIRE(verify(graph).ok());
  CHECK(graph.node_count() + static_cast<std::size_t>(count) == before);
  return count;
}

// Two nodes of this operator, which read the same value.
Graph twice(const char* op, const Attributes& first, const Attributes& second) {
  GraphBuilder b;
  const ValueId x = b.input(DataType::Float32, {2, 6});
  b.output(b.node(op, {x}, first));
  b.output(b.node(op, {x}, second));
  return b.graph;
}

TEST_SUITE("passes.share_equal") {
  TEST_CASE("equal chains become one, and results stay") {
    std::mt19937 random(31);
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {4, 6});
    const Tensor weights = random_floats(random, {6, 5});
    std::vector<ValueId> ends;
    for (int i = 0; i < 3; ++i) {
      const ValueId product = b.node("MatMul", {x, b.constant(weights)});
      ends.push_back(b.node("Softmax", {product}, with("axis", std::int64_t{1})));
    }
    b.output(b.node("Add", {ends[0], ends[1]}));
    b.output(ends[2]);
    b.output(ends[1]);
    const Tensor input = random_floats(random, {4, 6});
    check_same_results(b.graph, {input}, "share-equal", 0, 0);
    CHECK(run_graph(b.graph, {input}).steps() + 4 ==
          run_graph(b.graph, {input}, {"share-equal"}).steps());
    CHECK(shared(b.graph) == 4);

    Graph graph = b.graph;
    PassContext context;
    REQUIRE(share_equal(graph, context));
    CHECK(graph.node(0).origin.sources == std::vector<NodeId>{0, 2, 4});
    CHECK(graph.outputs == std::vector<ValueId>{graph.outputs[0], ends[0], ends[0]});
  }

  TEST_CASE("attributes are equal by name and value") {
    Attributes one = with("alpha", 0.2F);
    one.set("beta", 0.4F);
    Attributes other = with("beta", 0.4F);
    other.set("alpha", 0.2F);
    CHECK(shared(twice("HardSigmoid", one, other)) == 1);
    other.set("alpha", 0.3F);
    CHECK(shared(twice("HardSigmoid", one, other)) == 0);
    CHECK(shared(twice("LeakyRelu", with("alpha", 0.0F), with("alpha", -0.0F))) == 0);
    CHECK(shared(twice("Softmax", with("axis", std::int64_t{0}), {})) == 0);
    const std::vector<std::int64_t> order = {1, 0};
    CHECK(shared(twice("Transpose", with("perm", order), with("perm", order))) == 1);
  }

  TEST_CASE("nodes that differ in an input, in their operator or in what is wanted stay") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {6});
    const ValueId y = b.input(DataType::Float32, {6});
    b.output(b.node("Sub", {x, y}));
    b.output(b.node("Sub", {y, x}));
    b.output(b.node("Add", {x, y}));
    b.output(b.node("Sub", {x, b.floats({1}, {})}));
    b.output(b.node("Sub", {x, b.floats({2}, {})}));
    b.output(b.node("Sub", {x, b.floats({1}, {1})}));
    b.output(b.node("Clip", {x, b.floats({1}, {}), kNoValue}));
    b.output(b.node("Clip", {x, kNoValue, b.floats({1}, {})}));
    b.output(b.nodes("LayerNormalization", {x, y}, 2)[0]);
    b.output(b.node("LayerNormalization", {x, y}));
    CHECK(shared(b.graph) == 0);
  }

  TEST_CASE("what is random, or of an unknown operator, is drawn twice") {
    for (const char* op : {"RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial",
                           "Dropout", "nowhere.Unknown"}) {
      CAPTURE(op);
      CHECK(shared(twice(op, {}, {})) == 0);
    }
  }
}

}  // namespace
