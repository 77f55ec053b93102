#include "core/plan/specialise.hpp"

#include "tests/plan/plan_case.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

Result<Specialised> specialise_case(PlanCase& asked) {
  return specialise(asked.model, asked.request.inputs, asked.request.passes, {});
}

Status status_of(const Graph& graph) {
  PlanCase asked(graph);
  return specialise_case(asked).status();
}

TEST_SUITE("plan.specialise") {
  TEST_CASE("an input whose bytes cannot be counted is refused by its name") {
    GraphBuilder b;
    b.output(b.node("Neg", {b.input(DataType::Float32, {1LL << 40, 1LL << 40})}));
    const Status status = status_of(b.graph);
    CHECK(status.code() == Code::LimitExceeded);
    CHECK(status.message().find("input in0") == 0);
  }

  TEST_CASE("an intermediate value whose bytes cannot be counted is refused with its node") {
    GraphBuilder b;
    const ValueId column = b.input(DataType::Float32, {1LL << 33, 1});
    const ValueId row = b.input(DataType::Float32, {1, 1LL << 33});
    b.output(b.node("MatMul", {column, row}));
    const Status status = status_of(b.graph);
    CHECK(status.code() == Code::LimitExceeded);
    CHECK(status.to_string().find("MatMul_0") != std::string::npos);
  }

  TEST_CASE("a size that is not known by now is refused by the input's name") {
    GraphBuilder b;
    b.output(b.node("Neg", {b.input(DataType::Float32, {2, -1})}));
    const Status status = status_of(b.graph);
    CHECK(status.code() == Code::InvalidArgument);
    CHECK(status.message().find("input in0") == 0);
  }

  TEST_CASE("inputs of the wrong rank or size are refused with the node that minds") {
    const auto conv = [](Shape x, Shape w) {
      GraphBuilder b;
      b.output(b.node("Conv", {b.input(DataType::Float32, std::move(x)),
                               b.input(DataType::Float32, std::move(w))}));
      return status_of(b.graph);
    };
    CHECK(conv({1, 3, 8, 8}, {4, 3, 3, 3}).ok());
    for (const Status& status : {conv({3, 8}, {4, 3, 3, 3}), conv({1, 3, 8, 8}, {4, 3, 3}),
                                 conv({1, 3, 8, 8}, {}), conv({1, 2, 8, 8}, {4, 3, 3, 3})}) {
      CHECK(status.code() == Code::InvalidArgument);
      CHECK_MESSAGE(status.to_string().find("Conv_0") != std::string::npos, status.to_string());
    }
    GraphBuilder add;
    add.output(add.node(
        "Add", {add.input(DataType::Float32, {3, 4}), add.input(DataType::Float32, {3, 5})}));
    CHECK(status_of(add.graph).code() == Code::InvalidArgument);
    GraphBuilder types;
    types.output(types.node(
        "Add", {types.input(DataType::Float32, {3}), types.input(DataType::Int64, {3})}));
    CHECK(status_of(types.graph).code() == Code::InvalidArgument);
  }

  TEST_CASE("operators that nobody knows are listed, all of them") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {4});
    b.output(b.node("com.acme.Twist", {b.node("Neg", {x})}));
    b.output(b.node("com.acme.Turn", {x}));
    const Status status = status_of(b.graph);
    CHECK(status.code() == Code::Unsupported);
    REQUIRE(status.nodes().size() == 2);
    CHECK(status.nodes()[0].op == "com.acme.Twist");
    CHECK(status.nodes()[1].op == "com.acme.Turn");
  }

  TEST_CASE("what follows from shapes alone is worked out and belongs to nobody") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {2, 3, 4});
    const ValueId shape = b.node("Shape", {x});
    const ValueId first = b.node("Gather", {shape, b.ints({0})});
    const ValueId target =
        b.node("Concat", {first, b.ints({-1})}, attribute("axis", std::int64_t{0}));
    b.output(b.node("Reshape", {x, target}));
    PlanCase asked(b.graph);
    const Specialised made = specialise_case(asked).value();
    CHECK(ops(made.kernels) == "view");
    CHECK(*made.kernels.value(made.kernels.outputs[0]).shape == Shape{2, 12});
    CHECK(made.host_shape == std::vector<NodeId>{0, 1, 2});
    CHECK_FALSE(made.rest.has_value());
    CHECK(asked.build().value()->placement.per_device.at("host-shape") == 3);
    // The model serves other shapes as it did before.
    CHECK(print(asked.model) == print(b.graph));
    asked.request.inputs[0].type.shape = {5, 2, 2};
    CHECK(*specialise_case(asked)->kernels.value(0).shape == Shape{5, 2, 2});
  }

  TEST_CASE("a known input's value decides shapes, and the input keeps its place") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {12});
    const ValueId target = b.input(DataType::Int64, {2});
    b.output(b.node("Reshape", {x, target}));
    PlanCase asked(b.graph);
    CHECK(specialise_case(asked)->rest.has_value());
    asked.request.inputs[1].value = make_constant_ints(std::vector<std::int64_t>{3, 4});
    const Specialised made = specialise_case(asked).value();
    CHECK_FALSE(made.rest.has_value());
    CHECK(made.kernels.inputs.size() == 2);
    CHECK(*made.kernels.value(made.kernels.outputs[0]).shape == Shape{3, 4});
    asked.request.inputs[1].value = make_constant_ints(std::vector<std::int64_t>{5, -1});
    CHECK(specialise_case(asked).status().code() == Code::InvalidArgument);
  }

  TEST_CASE("a size that depends on data cuts the model in two") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {2, 3});
    const ValueId found = b.node("NonZero", {x});
    b.output(b.node("Neg", {x}));
    b.output(b.node("Transpose", {found}));
    PlanCase asked(b.graph);
    const Specialised made = specialise_case(asked).value();
    REQUIRE(made.rest.has_value());
    REQUIRE(made.dynamic.size() == 1);
    // Results: Neg's, NonZero's with room for all six, and how many there were.
    CHECK(made.kernels.outputs.size() == 3);
    CHECK(*made.kernels.value(made.kernels.outputs[made.dynamic[0].result]).shape == Shape{2, 6});
    CHECK(made.dynamic[0].axis == 1);
    CHECK(made.dynamic[0].count == 2);
    CHECK(made.outputs == std::vector<std::uint32_t>{0, 3});
    CHECK(made.rest->carried == std::vector<std::uint32_t>{made.dynamic[0].result});
    CHECK(made.rest->read_on_host == std::vector<bool>{false});
    CHECK(ops(made.rest->graph) == "Transpose");
    CHECK(verify(made.rest->graph).ok());
  }

  TEST_CASE("a shape computed on a device is carried over to be read on the host") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {12});
    const ValueId sizes = b.input(DataType::Int64, {2});
    b.output(b.node("Reshape", {x, b.node("Abs", {sizes})}));
    PlanCase asked(b.graph);
    const Specialised made = specialise_case(asked).value();
    REQUIRE(made.rest.has_value());
    CHECK(ops(made.rest->graph) == "Reshape");
    CHECK(made.rest->read_on_host == std::vector<bool>{false, true});
  }
}

}  // namespace
