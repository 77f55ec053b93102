#include <doctest/doctest.h>

#include "tests/graph/small_graph.hpp"

namespace miniinfer {
namespace {

struct Chain {
  Chain() {
    x = test::input(graph, "x");
    a = test::add(graph, "A", {x});
    b = test::add(graph, "B", {a});
    graph.outputs = {b};
  }
  Graph graph;
  ValueId x, a, b;
};

TEST_CASE("a sound graph is verified") { CHECK(verify(Chain().graph).ok()); }

TEST_CASE("ids out of range are found") {
  Chain reads;
  reads.graph.node(1).inputs[0] = 99;
  CHECK(verify(reads.graph).code() == Code::Internal);
  Chain gives;
  gives.graph.node(1).outputs[0] = 99;
  CHECK(verify(gives.graph).code() == Code::Internal);
  Chain outputs;
  outputs.graph.outputs[0] = kNoValue;
  CHECK(verify(outputs.graph).code() == Code::Internal);
  Chain inputs;
  inputs.graph.inputs[0] = 99;
  CHECK(verify(inputs.graph).code() == Code::Internal);
}

TEST_CASE("an order that does not name each axis of its value once is found") {
  const auto verify_orders = [](std::vector<Order> orders) {
    Chain chain;
    chain.graph.value(chain.a).shape = Shape{2, 3};
    chain.graph.node(1).input_orders = std::move(orders);
    return verify(chain.graph).code();
  };
  CHECK(verify_orders({{1, 0}}) == Code::Ok);
  CHECK(verify_orders({{}}) == Code::Ok);
  CHECK(verify_orders({{0, 0}}) == Code::Internal);
  CHECK(verify_orders({{0, 2}}) == Code::Internal);
  CHECK(verify_orders({{0}}) == Code::Internal);
  CHECK(verify_orders({{1, 0}, {}}) == Code::Internal);
}

TEST_CASE("a value with two origins is found") {
  Chain twice;
  twice.graph.node(1).outputs[0] = twice.a;
  CHECK(verify(twice.graph).code() == Code::Internal);
  Chain constant;
  constant.graph.value(constant.a).constant = make_constant_scalar(DataType::Float32, 1);
  CHECK(verify(constant.graph).code() == Code::Internal);
  Chain input;
  input.graph.inputs.push_back(input.a);
  CHECK(verify(input.graph).code() == Code::Internal);
}

TEST_CASE("a node before what it reads is found, and named") {
  Chain chain;
  std::swap(chain.graph.node(0), chain.graph.node(1));
  const Status status = verify(chain.graph);
  CHECK(status.code() == Code::Internal);
  CHECK(status.message().find("(B)") != std::string::npos);
}

TEST_CASE("an output without an origin is found, and a removed node gives none") {
  Chain chain;
  chain.graph.remove_node(1);
  CHECK(verify(chain.graph).code() == Code::Internal);
}

TEST_CASE("a producer that does not give the value is found") {
  Chain chain;
  chain.graph.value(chain.a).producer = 1;
  CHECK(verify(chain.graph).code() == Code::Internal);
}

}  // namespace
}  // namespace miniinfer
