#include "core/graph/graph.hpp"

#include <doctest/doctest.h>

#include "tests/graph/small_graph.hpp"

namespace miniinfer {
namespace {

using test::add;
using test::ops;

TEST_CASE("a graph in order stays as it is") {
  Graph graph;
  const ValueId x = test::input(graph, "x");
  const ValueId a = add(graph, "A", {x});
  const ValueId b = add(graph, "B", {x});
  graph.outputs = {add(graph, "C", {b, a})};
  REQUIRE(graph.sort().ok());
  CHECK(ops(graph) == "A B C");
  CHECK(verify(graph).ok());
}

TEST_CASE("nodes out of order are sorted, and keep the file's order where they may") {
  Graph graph;
  const ValueId x = test::input(graph, "x");
  const ValueId late = graph.add_value("late");
  const ValueId c = add(graph, "C", {late});
  const ValueId a = add(graph, "A", {x});
  Node node;
  node.op = "L";
  node.inputs = {a};
  node.outputs = {late};
  graph.add_node(std::move(node));
  graph.outputs = {add(graph, "D", {c, a, a, kNoValue})};
  REQUIRE(graph.sort().ok());
  CHECK(ops(graph) == "A L C D");
  CHECK(verify(graph).ok());
}

TEST_CASE("a circle is an error that names a node of it, and the graph stays whole") {
  Graph graph;
  const ValueId x = test::input(graph, "x");
  const ValueId back = graph.add_value("back");
  // Stands before the circle and waits for it, but is not in it.
  const ValueId victim = add(graph, "Victim", {back});
  const ValueId b = add(graph, "B", {back, x});
  Node node;
  node.op = "C";
  node.inputs = {b};
  node.outputs = {back};
  graph.add_node(std::move(node));
  graph.outputs = {victim};
  const Status status = graph.sort();
  CHECK(status.code() == Code::InvalidArgument);
  const std::string message(status.message());
  CHECK((message.find("node B_") != std::string::npos ||
         message.find("node C_") != std::string::npos));
  CHECK(ops(graph) == "Victim B C");
}

TEST_CASE("a node that reads its own output is a circle") {
  Graph graph;
  const ValueId y = graph.add_value("y");
  Node node;
  node.op = "Loop";
  node.inputs = {y};
  node.outputs = {y};
  graph.add_node(std::move(node));
  CHECK(graph.sort().code() == Code::InvalidArgument);
}

TEST_CASE("compact drops what has no effect and keeps inputs and outputs") {
  Graph graph;
  const ValueId x = test::input(graph, "x");
  test::input(graph, "unused");
  graph.add_constant(make_constant_scalar(DataType::Float32, 1), "unread");
  const ValueId weight = graph.add_constant(make_constant_scalar(DataType::Float32, 2), "weight");
  const ValueId dead = add(graph, "Dead", {x});
  add(graph, "DeadToo", {dead});
  const ValueId kept = add(graph, "Kept", {x, weight});
  graph.outputs = {kept};
  graph.compact();
  CHECK(ops(graph) == "Kept");
  CHECK(graph.value_count() == 4);  // x, unused, weight, the output
  REQUIRE(graph.inputs.size() == 2);
  CHECK(graph.value(graph.inputs[1]).name == "unused");
  CHECK(graph.value(graph.node(0).inputs[1]).name == "weight");
  CHECK(graph.value(graph.outputs[0]).producer == 0);
  CHECK(verify(graph).ok());
}

TEST_CASE("compact keeps all outputs of a node that has one with effect") {
  Graph graph;
  const ValueId x = test::input(graph, "x");
  Node node;
  node.op = "Split";
  node.inputs = {x};
  node.outputs = {graph.add_value("a"), kNoValue, graph.add_value("b")};
  const ValueId b = node.outputs[2];
  graph.add_node(std::move(node));
  graph.outputs = {b};
  graph.compact();
  REQUIRE(graph.node_count() == 1);
  CHECK(graph.node(0).outputs[1] == kNoValue);
  CHECK(graph.node(0).outputs[2] == graph.outputs[0]);
  CHECK(verify(graph).ok());
}

TEST_CASE("uses count each reading, and replacing them leaves none") {
  Graph graph;
  const ValueId x = test::input(graph, "x");
  const ValueId a = add(graph, "A", {x});
  const ValueId b = add(graph, "B", {a, a});
  graph.outputs = {a, b};
  CHECK(graph.uses()[a] == std::vector<NodeId>{1, 1});
  CHECK(graph.is_output(a));
  graph.replace_uses(a, x);
  CHECK(graph.uses()[a].empty());
  CHECK(graph.outputs[0] == x);
  graph.remove_node(0);
  CHECK(graph.value(a).producer == kNoNode);
  CHECK(graph.uses()[x] == std::vector<NodeId>{1, 1});
  CHECK(verify(graph).ok());
}

TEST_CASE("a report names the node as the file does") {
  Graph graph;
  const ValueId x = graph.add_value("x", DataType::Float32, Shape{1, -1});
  graph.inputs = {x};
  graph.sources->push_back({"conv\n1", "Conv"});
  Node node;
  node.op = "Conv";
  node.inputs = {x, kNoValue, graph.add_value("w")};
  node.outputs = {graph.add_value("y")};
  node.origin.sources = {0};
  graph.add_node(std::move(node));
  const NodeReport report = describe(graph, 0, "because");
  CHECK(report.name == "conv\\x0a1");
  CHECK(report.op == "Conv");
  CHECK(report.types == "float32[1,?], -, undefined[..]");
  CHECK(report.reason == "because");
  CHECK(print(graph).find("Conv(%0, _, %1)") != std::string::npos);
}

TEST_CASE("a chain of a million nodes, back to front, is sorted and verified") {
  constexpr NodeId kNodes = 1'000'000;
  Graph graph;
  const ValueId x = test::input(graph, "x");
  for (NodeId i = 0; i < kNodes; ++i) graph.add_value("");
  for (NodeId i = kNodes; i-- > 0;) {
    Node node;
    node.op = "R";
    node.inputs = {x + i};
    node.outputs = {x + i + 1};
    graph.add_node(std::move(node));
  }
  graph.outputs = {x + kNodes};
  REQUIRE(graph.sort().ok());
  CHECK(verify(graph).ok());
  graph.compact();
  CHECK(graph.node_count() == kNodes);
}

}  // namespace
}  // namespace miniinfer
