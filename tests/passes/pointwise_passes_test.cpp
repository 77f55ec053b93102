#include "tests/support/graph_runner.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

// HardSwish by parts, a residual, a broadcast and two uses of one value.
Graph pointwise_chain(std::mt19937& random) {
  GraphBuilder b;
  const ValueId x = b.input(DataType::Float32, {2, 3, 5, 4});
  const ValueId y = b.input(DataType::Float32, {3, 1, 1});
  const ValueId shifted = b.node("Add", {x, b.floats({3}, {})});
  const ValueId clipped = b.node("Clip", {shifted, b.floats({0}, {}), b.floats({6}, {})});
  const ValueId swish = b.node("Mul", {x, b.node("Div", {clipped, b.floats({6}, {1})})});
  const ValueId scaled = b.node("Mul", {swish, y});
  const ValueId squared = b.node("Mul", {scaled, scaled});
  const ValueId sum = b.node("Add", {squared, b.constant(random_floats(random, {4}))});
  b.output(b.node("Sqrt", {b.node("Abs", {sum})}));
  b.output(b.node("Tanh", {scaled}));
  return b.graph;
}

TEST_SUITE("passes.pointwise") {
  TEST_CASE("fusing pointwise operators changes no result and makes fewer steps") {
    std::mt19937 random(6);
    const Graph graph = pointwise_chain(random);
    const std::vector<Tensor> inputs = {random_floats(random, {2, 3, 5, 4}, -8, 8),
                                        random_floats(random, {3, 1, 1})};
    check_same_results(graph, inputs, "fuse-pointwise");
    CHECK(run_graph(graph, inputs).steps() < run_graph(graph, inputs, {"fuse-pointwise"}).steps());
  }

  TEST_CASE("the five operators of a written out GELU become one step") {
    std::mt19937 random(12);
    for (const bool half_first : {false, true}) {
      GraphBuilder b;
      const ValueId x = b.input(DataType::Float32, {2, 7, 12});
      const ValueId half = b.floats({0.5F}, {});
      const ValueId erf = b.node("Erf", {b.node("Div", {x, b.floats({1.41421356F}, {})})});
      const ValueId sum = b.node("Add", {erf, b.floats({1}, {})});
      b.output(half_first ? b.node("Mul", {b.node("Mul", {half, x}), sum})
                          : b.node("Mul", {b.node("Mul", {x, sum}), half}));
      const std::vector<Tensor> inputs = {random_floats(random, {2, 7, 12}, -4, 4)};
      check_same_results(b.graph, inputs, "fuse-pointwise");
      CHECK(run_graph(b.graph, inputs).steps() == 1);
      CHECK(run_graph(b.graph, inputs, {"fuse-pointwise"}).steps() == 5);
    }
  }

  TEST_CASE("scalar constants move into the program and change no result") {
    std::mt19937 random(7);
    const Graph graph = pointwise_chain(random);
    const std::vector<Tensor> inputs = {random_floats(random, {2, 3, 5, 4}, -8, 8),
                                        random_floats(random, {3, 1, 1})};
    check_same_results(graph, inputs, "inline-constants");
    std::size_t with = run_graph(graph, inputs, {"fuse-pointwise"}).plan->args.size();
    std::size_t without =
        run_graph(graph, inputs, {"fuse-pointwise", "inline-constants"}).plan->args.size();
    CHECK(with < without);
  }

  TEST_CASE("a value another operator needs is computed once") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {8});
    const ValueId e = b.node("Exp", {x});
    b.output(b.node("Neg", {e}));
    b.output(b.node("Abs", {e}));
    std::mt19937 random(8);
    CHECK(run_graph(b.graph, {random_floats(random, {8})}).steps() == 3);
  }

  TEST_CASE("random chains give equal results fused and unfused") {
    std::mt19937 random(9);
    static constexpr const char* kBinary[] = {"Add", "Sub", "Mul", "Max", "Min"};
    static constexpr const char* kUnary[] = {"Relu", "Neg", "Abs", "Sigmoid", "Tanh", "Erf"};
    for (int round = 0; round < 20; ++round) {
      GraphBuilder b;
      std::vector<ValueId> values = {b.input(DataType::Float32, {3, 4}),
                                     b.input(DataType::Float32, {4}),
                                     b.input(DataType::Float32, {3, 1})};
      for (int i = 0; i < 25; ++i) {
        const auto pick = [&] { return values[random() % values.size()]; };
        values.push_back(random() % 2 == 0
                             ? b.node(kBinary[random() % std::size(kBinary)], {pick(), pick()})
                             : b.node(kUnary[random() % std::size(kUnary)], {pick()}));
      }
      b.output(values.back());
      b.output(values[values.size() / 2]);
      const std::vector<Tensor> inputs = {random_floats(random, {3, 4}), random_floats(random, {4}),
                                          random_floats(random, {3, 1})};
      check_same_results(b.graph, inputs, "fuse-pointwise");
    }
  }
}

}  // namespace
