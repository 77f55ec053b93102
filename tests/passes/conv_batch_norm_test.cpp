#include "tests/support/graph_runner.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

Graph conv_and_norm(std::mt19937& random, const char* conv, bool bias, bool shared_output) {
  GraphBuilder b;
  const ValueId x = b.input(DataType::Float32, {2, 4, 9, 7});
  std::vector<ValueId> inputs = {x, b.constant(random_floats(random, {4, 4, 3, 3}))};
  if (bias) inputs.push_back(b.constant(random_floats(random, {4})));
  const ValueId y = b.node(conv, inputs);
  const ValueId norm = b.node(
      "BatchNormalization",
      {y, b.constant(random_floats(random, {4})), b.constant(random_floats(random, {4})),
       b.constant(random_floats(random, {4})), b.constant(random_floats(random, {4}, 0.1F, 2))});
  b.output(b.node("Relu", {norm}));
  if (shared_output) b.output(y);
  return b.graph;
}

TEST_SUITE("passes.conv_batch_norm") {
  TEST_CASE("moving the normalisation into the weights changes no result") {
    std::mt19937 random(4);
    for (const char* conv : {"Conv", "ConvTranspose"}) {
      for (const bool bias : {false, true}) {
        CAPTURE(conv);
        CAPTURE(bias);
        const Graph graph = conv_and_norm(random, conv, bias, false);
        check_same_results(graph, {random_floats(random, {2, 4, 9, 7})}, "conv-batch-norm", 1e-4,
                           1e-4);
        Graph fused = graph;
        PassContext context;
        CHECK(fuse_conv_batch_norm(fused, context).value() == 1);
      }
    }
  }

  TEST_CASE("a convolution whose own result is wanted keeps it") {
    std::mt19937 random(5);
    Graph graph = conv_and_norm(random, "Conv", true, true);
    PassContext context;
    CHECK(fuse_conv_batch_norm(graph, context).value() == 0);
  }
}

}  // namespace
