#include "core/plan/placement.hpp"

#include "tests/plan/plan_case.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

// Relu -> TopK -> Neg, and a CumSum beside: the fake device has neither TopK nor CumSum.
Graph half_known() {
  GraphBuilder b;
  const ValueId x = b.input(DataType::Float32, {2, 8});
  const ValueId relu = b.node("Relu", {x});
  const std::vector<ValueId> top = b.nodes("TopK", {relu, b.ints({3})}, 2);
  b.output(b.node("Neg", {top[0]}));
  b.output(top[1]);
  const Tensor axis = Tensor::from(std::vector<std::int64_t>{1}, {}).value();
  b.output(b.node("CumSum", {relu, b.constant(axis)}));
  return b.graph;
}

std::string devices_of(const Graph& graph, const std::vector<NodePlace>& places) {
  std::string text;
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    if (graph.node(id).removed) continue;
    text += (text.empty() ? "" : " ") + graph.node(id).op + "@" + std::to_string(places[id].device);
  }
  return text;
}

TEST_SUITE("plan.placement") {
  TEST_CASE("one device is strict: the error lists every node it refuses, with the reason") {
    const FakeDevice fake;
    PlanCase asked(half_known(), {fake.open()});
    Graph graph = asked.kernels();
    const Status status = place_nodes(graph, asked.request.devices).status();
    CHECK(status.code() == Code::Unsupported);
    CHECK(status.message() == "2 of 4 nodes cannot run on fake:0");
    CHECK(status.hint() == "allow a fallback: -d fake:0,cpu");
    REQUIRE(status.nodes().size() == 2);
    CHECK(status.nodes()[0].name == "TopK_1");
    CHECK(status.nodes()[0].op == "TopK");
    CHECK(status.nodes()[0].reason == "not implemented");
    CHECK(status.nodes()[1].name == "CumSum_3");
    CHECK(status.nodes()[1].reason == "not implemented");
  }

  TEST_CASE("a second device that cannot either is named in the error, and so is the way out") {
    const FakeDevice one(0), two(1);
    PlanCase asked(half_known(), {one.open(), two.open()});
    Graph graph = asked.kernels();
    const Status status = place_nodes(graph, asked.request.devices).status();
    CHECK(status.message() == "2 of 4 nodes cannot run on fake:0, fake:1");
    CHECK(status.hint() == "allow a fallback: -d ..,cpu");
  }

  TEST_CASE("with a fallback only what was refused goes there, and says why") {
    const FakeDevice fake;
    PlanCase asked(half_known(), {fake.open(), host_device()});
    const PlanPtr plan = asked.build().value();
    const Placement& placement = plan->placement;
    REQUIRE(placement.nodes.size() == 4);
    CHECK(placement.per_device == std::map<std::string, int>{{"cpu:0", 2}, {"fake:0", 2}});
    for (const PlacedNode& node : placement.nodes) {
      CAPTURE(node.name);
      const bool fallen = node.op == "TopK" || node.op == "CumSum";
      CHECK(node.device == (fallen ? "cpu:0" : "fake:0"));
      CHECK(node.reason == (fallen ? "not implemented" : ""));
    }
  }

  TEST_CASE("the first device of the list that can is taken, whichever it is") {
    const FakeDevice fake;
    PlanCase asked(half_known(), {host_device(), fake.open()});
    CHECK(asked.build().value()->placement.per_device == std::map<std::string, int>{{"cpu:0", 4}});
  }

  TEST_CASE("what a device refuses is decomposed until it refuses nothing") {
    std::mt19937 random(1);
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {2, 4, 9});
    // One spatial axis and two groups: the fake device has neither.
    const ValueId conv = b.node(
        "Conv",
        {x, b.constant(random_floats(random, {4, 2, 3})), b.constant(random_floats(random, {4}))},
        attribute("group", std::int64_t{2}));
    const ValueId normal = b.node(
        "LayerNormalization",
        {conv, b.constant(random_floats(random, {7})), b.constant(random_floats(random, {7}))});
    b.output(b.node("Softmax", {normal}));
    const FakeDevice fake;
    PlanCase asked(b.graph, {fake.open()});
    Graph graph = asked.kernels();
    REQUIRE(ops(graph) == "conv/1 view layer_norm/1 view softmax/1 view");
    const std::vector<NodePlace> places = place_nodes(graph, asked.request.devices).value();
    for (const Node& node : graph.nodes()) {
      if (node.removed) continue;
      CAPTURE(node.op);
      CHECK(node.op != "conv/1");
      CHECK(node.op != "layer_norm/1");
      CHECK(node.op != "softmax/1");
      CHECK_FALSE(node.origin.sources.empty());
    }
    CHECK(verify(graph).ok());
    // Asked again, nothing is left to take apart.
    const std::string before = ops(graph);
    const std::vector<NodePlace> again = place_nodes(graph, asked.request.devices).value();
    CHECK(ops(graph) == before);
    CHECK(devices_of(graph, again) == devices_of(graph, places));

    const Tensor input = random_floats(random, {2, 4, 9});
    const GraphRun on_fake = run_graph(b.graph, {input}, {}, {fake.open()});
    const GraphRun on_host = run_graph(b.graph, {input});
    check_close(on_fake.outputs[0], on_host.outputs[0], 1e-4, 1e-5);
    CHECK(on_fake.plan->placement.per_device == std::map<std::string, int>{{"fake:0", 3}});
  }

  TEST_CASE("a view stands where what it looks at is made") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {2, 8});
    const std::vector<ValueId> top = b.nodes("TopK", {x, b.ints({4})}, 2);
    b.output(b.node("Exp", {b.node("Reshape", {top[0], b.ints({8})})}));
    b.output(top[1]);
    const FakeDevice fake;
    PlanCase asked(b.graph, {fake.open(), host_device()});
    Graph graph = asked.kernels();
    const std::vector<NodePlace> places = place_nodes(graph, asked.request.devices).value();
    REQUIRE(ops(graph) == "view top_k/1 view view pointwise/1");
    CHECK(devices_of(graph, places) == "view@0 top_k/1@1 view@1 view@1 pointwise/1@0");
  }

  TEST_CASE("no device is sent a pointwise program longer than it takes") {
    GraphBuilder b;
    ValueId x = b.input(DataType::Float32, {4});
    for (int i = 0; i < 100; ++i) x = b.node(i % 2 == 0 ? "Neg" : "Tanh", {x});
    b.output(x);
    const FakeDevice fake;
    std::mt19937 random(3);
    const Tensor input = random_floats(random, {4});
    // 32 instructions at most on the fake device, 64 on the host.
    const GraphRun on_fake = run_graph(b.graph, {input}, {}, {fake.open()});
    const GraphRun on_host = run_graph(b.graph, {input});
    CHECK(on_fake.plan->steps.size() > 3);
    CHECK(on_host.steps() < on_fake.steps());
    check_close(on_fake.outputs[0], on_host.outputs[0]);
  }

  TEST_CASE("a convolution whose windows no memory could hold is refused, not taken apart") {
    GraphBuilder b;
    // One spatial axis, which the fake device has not.
    const ValueId x = b.input(DataType::Float32, {1, 1, 1LL << 50});
    const ValueId w = b.input(DataType::Float32, {2, 1, 1 << 15});
    b.output(b.node("Conv", {x, w}, attribute("auto_pad", std::string("SAME_UPPER"))));
    const FakeDevice fake;
    PlanCase asked(b.graph, {fake.open()});
    const Status status = asked.build().status();
    CHECK(status.code() == Code::Unsupported);
    REQUIRE(status.nodes().size() == 1);
    CHECK(status.nodes()[0].reason == "1 spatial axes: only 2 are implemented");
  }
}

}  // namespace
