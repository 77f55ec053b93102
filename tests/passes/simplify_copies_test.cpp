#include "tests/support/graph_runner.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

TEST_SUITE("passes.simplify_copies") {
  TEST_CASE("reshapes and transposes that move nothing cost no step") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {1, 6, 1, 4});
    Attributes perm;
    perm.set("perm", std::vector<std::int64_t>{0, 2, 1, 3});
    const ValueId turned = b.node("Transpose", {x}, perm);
    const ValueId flat = b.node("Reshape", {turned, b.ints({-1})});
    const ValueId square = b.node("Reshape", {flat, b.ints({4, 6})});
    b.output(b.node("Exp", {square}));
    std::mt19937 random(10);
    const std::vector<Tensor> inputs = {random_floats(random, {1, 6, 1, 4})};
    check_same_results(b.graph, inputs, "simplify-copies");
    CHECK(run_graph(b.graph, inputs).steps() == 1);
  }

  TEST_CASE("a transpose that moves elements stays") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {2, 3});
    b.output(b.node("Transpose", {x}));
    const Tensor input = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3}).value();
    const GraphRun run = run_graph(b.graph, {input});
    CHECK(run.steps() == 1);
    check_close(run.outputs[0], Tensor::from(std::vector<float>{1, 4, 2, 5, 3, 6}, {3, 2}).value(),
                0, 0);
  }

  TEST_CASE("an output that is a view of an input is a copy of it") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {2, 3});
    b.output(b.node("Flatten", {x}));
    b.output(b.node("Reshape", {x, b.ints({6})}));
    std::mt19937 random(11);
    const Tensor input = random_floats(random, {2, 3});
    const GraphRun run = run_graph(b.graph, {input});
    check_close(run.outputs[0], input, 0, 0);
    check_close(run.outputs[1], input.reshape({6}).value(), 0, 0);
  }
}

}  // namespace
