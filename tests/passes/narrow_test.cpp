#include "tests/support/graph_runner.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

GraphRun run_narrow(const Graph& graph, const std::vector<Tensor>& inputs, DataType type) {
  RunSetup setup;
  setup.passes.compute = type;
  setup.passes.narrow_constants = std::make_shared<NarrowConstants>();
  return run_graph(graph, inputs, {}, {}, setup);
}

// Two layers with a residual, a normalisation and a softmax: each kind of operator there is.
Graph small_network(std::mt19937& random) {
  GraphBuilder b;
  const ValueId x = b.input(DataType::Float32, {2, 3, 8, 8});
  const ValueId conv = b.node("Conv", {x, b.constant(random_floats(random, {4, 3, 3, 3})),
                                       b.constant(random_floats(random, {4}))});
  const ValueId relu = b.node("Relu", {conv});
  const ValueId twice = b.node("Add", {relu, b.node("Tanh", {relu})});
  const ValueId flat = b.node("Reshape", {twice, b.ints({2, 144})});
  const ValueId hidden = b.node("MatMul", {flat, b.constant(random_floats(random, {144, 16}))});
  const ValueId norm = b.node(
      "LayerNormalization",
      {hidden, b.constant(random_floats(random, {16})), b.constant(random_floats(random, {16}))});
  b.output(b.node("Softmax", {norm}));
  b.output(hidden);
  b.output(b.node("ReduceSum", {hidden, b.ints({1})}));
  return b.graph;
}

double relative_l2(const Tensor& got, const Tensor& want) {
  const std::vector<float> a = got.to_vector<float>().value();
  const std::vector<float> b = want.to_vector<float>().value();
  REQUIRE(a.size() == b.size());
  double difference = 0;
  double size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    size += double{b[i]} * b[i];
  }
  return std::sqrt(difference / size);
}

TEST_SUITE("passes.narrow") {
  TEST_CASE("a network computed in a narrow type agrees to the type's precision, types unchanged") {
    std::mt19937 random(31);
    const Graph graph = small_network(random);
    const std::vector<Tensor> inputs = {random_floats(random, {2, 3, 8, 8})};
    const GraphRun wide = run_graph(graph, inputs);
    for (const auto& [type, bound] :
         {std::pair(DataType::Float16, 3e-3), std::pair(DataType::BFloat16, 2e-2)}) {
      const GraphRun narrow = run_narrow(graph, inputs, type);
      REQUIRE(narrow.outputs.size() == wide.outputs.size());
      double largest = 0;
      for (std::size_t i = 0; i < wide.outputs.size(); ++i) {
        CHECK(narrow.outputs[i].type() == wide.outputs[i].type());
        const double error = relative_l2(narrow.outputs[i], wide.outputs[i]);
        CHECK(error < bound);
        largest = std::max(largest, error);
      }
      CHECK(largest > 1e-6);  // it was not computed in float32
    }
  }

  TEST_CASE("a constant beyond the range of float16 stays what it is inside a program") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {4});
    const ValueId huge = b.floats({1e30f, 1, 1, 1}, {4});
    b.output(b.node("Neg", {b.node("Mul", {b.node("Mul", {x, huge}), b.floats({1e-30f}, {})})}));
    const std::vector<Tensor> inputs = {Tensor::from(std::vector<float>{2, 2, 2, 2}, {4}).value()};
    const GraphRun run = run_narrow(b.graph, inputs, DataType::Float16);
    CHECK(run.outputs[0].to_vector<float>().value()[0] == doctest::Approx(-2.0f));
  }

  TEST_CASE("padding with a fill value pads with that value") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {2});
    b.output(b.node("Pad", {x, b.ints({1, 1}), b.floats({1.5f}, {})}));
    const std::vector<Tensor> inputs = {Tensor::from(std::vector<float>{2, 3}, {2}).value()};
    const GraphRun run = run_narrow(b.graph, inputs, DataType::Float16);
    CHECK(run.outputs[0].to_vector<float>().value() == std::vector<float>{1.5f, 2, 3, 1.5f});
  }

  TEST_CASE("converted constants are shared while one of them lives") {
    const Tensor weights = Tensor::from(std::vector<float>{1, 2, 3}, {3}).value();
    const ConstantPtr wide = make_constant(weights.type(), weights.bytes());
    NarrowConstants constants;
    const ConstantPtr first = constants.get(wide, DataType::Float16);
    CHECK(constants.get(wide, DataType::Float16) == first);
    CHECK(constants.get(wide, DataType::BFloat16) != first);
    const Tensor large = Tensor::from(std::vector<float>{1e6f}, {1}).value();
    CHECK(constants.get(make_constant(large.type(), large.bytes()), DataType::Float16) == nullptr);
  }
}

}  // namespace
