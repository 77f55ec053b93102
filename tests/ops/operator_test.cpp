#include "core/ops/operator.hpp"

#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

TEST_CASE("operators are found by their canonical name") {
  REQUIRE(find_operator("Relu") != nullptr);
  CHECK(find_operator("Relu")->name == "Relu");
  CHECK(find_operator("com.microsoft.Gelu") != nullptr);
  CHECK(find_operator("relu") == nullptr);
  CHECK(find_operator("") == nullptr);
}

TEST_CASE("no operator is listed twice") {
  const auto all = all_operators();
  REQUIRE(all.size() > 100);
  for (std::size_t i = 1; i < all.size(); ++i) CHECK(all[i - 1]->name < all[i]->name);
}

TEST_CASE("a schema refuses wrong counts, unknown attributes and attributes of a wrong type") {
  const Operator& op = *find_operator("LeakyRelu");
  Node node;
  CHECK(check_schema(op, node).message() == "has 0 inputs, takes 1");
  node.inputs = {0};
  node.outputs = {1};
  CHECK(check_schema(op, node).ok());
  node.attributes.set("alpha", 0.5f);
  CHECK(check_schema(op, node).ok());
  node.attributes.set("alpha", std::int64_t{1});
  CHECK(check_schema(op, node).message() == "attribute alpha is not a float");
  node.attributes.erase("alpha");
  node.attributes.set("beta", 0.5f);
  CHECK(check_schema(op, node).code() == Code::InvalidArgument);
}

TEST_CASE("operands left out at the end do not count, those in the middle may not be required") {
  const Operator& slice = *find_operator("Slice");
  Node node;
  node.inputs = {0, 1, 2, kNoValue, kNoValue, kNoValue};
  CHECK(check_schema(slice, node).ok());
  node.inputs = {0, kNoValue, 2};
  CHECK(check_schema(slice, node).message() == "input 1 is left out; it is required");
}

TEST_CASE("a required attribute is asked for") {
  Node node;
  node.inputs = {0};
  CHECK(check_schema(*find_operator("Concat"), node).message() ==
        "lacks the required attribute axis");
}

TEST_CASE("inference names the node, the types and the rule that failed") {
  OpModel m;
  m.node("Add", {m.input(floats({1, 2, 3}, {3})), m.input(floats({1, 2}, {2}))});
  const Status status = m.infer();
  CHECK(status.code() == Code::InvalidArgument);
  const std::string text(status.message());
  CHECK(text.find("Add") != std::string::npos);
  CHECK(text.find("node0") != std::string::npos);
  CHECK(text.find("float32[3]") != std::string::npos);
  CHECK(text.find("do not broadcast") != std::string::npos);
  REQUIRE(status.nodes().size() == 1);
  CHECK(status.nodes()[0].op == "Add");
}

TEST_CASE("what is known of a value and contradicts inference is an error") {
  OpModel m;
  const ValueId y = m.node("Relu", {m.input(floats({1, 2}, {2}))});
  m.graph.value(y).shape = Shape{3};
  CHECK(m.infer().code() == Code::InvalidArgument);
  m.graph.value(y).shape = Shape{-1};
  CHECK(m.infer().ok());
  CHECK(m.value(y).shape == Shape{2});
}

TEST_CASE("inference leaves unknown what it cannot know") {
  OpModel m;
  const ValueId a = m.unknown(DataType::Float32, std::nullopt);
  const ValueId b = m.node("Relu", {a});
  const ValueId c = m.node("Add", {b, m.unknown(DataType::Undefined, Shape{-1, 4})});
  CHECK(m.infer().ok());
  CHECK(m.value(c).dtype == DataType::Float32);
  CHECK_FALSE(m.value(c).shape);
}

TEST_CASE("lowering lists every node that cannot be lowered, also behind one that cannot") {
  OpModel m;
  const ValueId a = m.node("Bernoulli", {m.input(floats({1}, {1}))});
  const ValueId b = m.node("Relu", {a});
  const ValueId c = m.node("RandomNormalLike", {b});
  Result<Graph> kernels = m.lowered({c});
  REQUIRE_FALSE(kernels.ok());
  CHECK(kernels.status().code() == Code::Unsupported);
  REQUIRE(kernels.status().nodes().size() == 2);
  CHECK(kernels.status().nodes()[0].op == "Bernoulli");
  CHECK(kernels.status().nodes()[1].op == "RandomNormalLike");
}

TEST_CASE("a node whose result is empty becomes an empty constant") {
  OpModel m;
  const ValueId y = m.node("Exp", {m.input(floats({}, {0, 3}))});
  Result<Graph> kernels = m.lowered({y});
  REQUIRE(kernels.ok());
  CHECK(kernels->node_count() == 0);
  CHECK(m.run(y).empty());
}

TEST_CASE("kernel nodes carry the origin of the node they were made from") {
  OpModel m;
  const ValueId x = m.input(floats({1, -2}, {2}));
  const ValueId y = m.node("Softsign", {m.node("Neg", {x})});
  Result<Graph> kernels = m.lowered({y});
  REQUIRE(kernels.ok());
  REQUIRE(kernels->node_count() == 2);
  CHECK(kernels->node(0).origin.sources == std::vector<NodeId>{0});
  CHECK(kernels->node(1).origin.sources == std::vector<NodeId>{1});
}

TEST_CASE("a variadic operator takes no list with holes") {
  Node node;
  node.inputs = {0, kNoValue, 1};
  CHECK(check_schema(*find_operator("Sum"), node).message() == "input 1 is left out of a list");
}

TEST_CASE("an input too large to be counted is refused before anything is computed from it") {
  OpModel m;
  const ValueId y = m.node(
      "Shape", {m.node("Relu", {m.unknown(DataType::Float32, Shape{std::int64_t{1} << 62, 8})})});
  CHECK(m.lowered({y}).status().code() == Code::LimitExceeded);
}
