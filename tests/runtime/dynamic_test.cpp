#include "tests/support/graph_runner.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

TEST_SUITE("runtime.dynamic") {
  TEST_CASE("NonZero gives as many positions as there are") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {2, 3});
    b.output(b.node("NonZero", {x}));
    const Tensor input = Tensor::from(std::vector<float>{0, 1, 0, 2, 0, 3}, {2, 3}).value();
    const GraphRun run = run_graph(b.graph, {input});
    const Tensor want = Tensor::from(std::vector<std::int64_t>{0, 1, 1, 1, 0, 2}, {2, 3}).value();
    check_close(run.outputs[0], want, 0, 0);
  }

  TEST_CASE("what stands behind a size that depends on data is planned when it is known") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {6});
    const ValueId positions = b.node("NonZero", {x});
    Attributes perm;
    perm.set("perm", std::vector<std::int64_t>{1, 0});
    const ValueId rows = b.node("Transpose", {positions}, perm);
    b.output(b.node("GatherND", {x, rows}));
    b.output(b.node("Exp", {x}));
    const Tensor input = Tensor::from(std::vector<float>{0, 5, 0, 7, 9, 0}, {6}).value();
    const GraphRun run = run_graph(b.graph, {input});
    check_close(run.outputs[0], Tensor::from(std::vector<float>{5, 7, 9}, {3}).value(), 0, 0);
    CHECK(run.outputs[1].shape() == Shape{6});
    CHECK(run.plan->rest);
    // Nodes that waited for the data are reported where they ran.
    CHECK(run.placement.per_device == std::map<std::string, int>{{"cpu:0", 4}});
    CHECK(run.placement.steps > run.steps());
  }

  TEST_CASE("nothing found gives an empty result") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {4});
    b.output(b.node("Neg", {b.node("Cast", {b.node("NonZero", {x})}, [] {
                      Attributes to;
                      to.set("to", std::int64_t{1});
                      return to;
                    }())}));
    const Tensor input = Tensor::from(std::vector<float>(4, 0.0F), {4}).value();
    CHECK(run_graph(b.graph, {input}).outputs[0].shape() == Shape{1, 0});
  }

  TEST_CASE("a Reshape may take its target from data") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {2, 6});
    const ValueId target = b.input(DataType::Int64, {2});
    b.output(b.node("Reshape", {b.node("Neg", {x}), target}));
    std::mt19937 random(1);
    const Tensor input = random_floats(random, {2, 6});
    const Tensor shape = Tensor::from(std::vector<std::int64_t>{3, -1}, {2}).value();
    const GraphRun run = run_graph(b.graph, {input, shape});
    CHECK(run.outputs[0].shape() == Shape{3, 4});
    CHECK(run.placement.nodes[0].device == "cpu:0");
  }

  TEST_CASE("an index out of range in the data is an error that names the node") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {4});
    const ValueId i = b.input(DataType::Int64, {1});
    b.output(b.node("Gather", {x, i}));
    const OpenDevicePtr host = host_device();
    auto shared = std::make_shared<ProgramShared>();
    shared->devices = {host};
    shared->host = host;
    shared->allocator_of = [](const OpenDevice& device) { return device.allocator; };
    shared->constants = std::make_unique<ConstantStore>(shared->allocator_of);
    Program program(b.graph, shared, {false, false});
    std::mt19937 random(2);
    const std::vector<Tensor> bad = {random_floats(random, {4}),
                                     Tensor::from(std::vector<std::int64_t>{9}, {1}).value()};
    const Status status = program.run(bad, {}, StopCheck()).status();
    CHECK(status.code() == Code::InvalidArgument);
    REQUIRE(status.nodes().size() == 1);
    CHECK(status.nodes()[0].name == "Gather_0");
    const std::vector<Tensor> good = {bad[0],
                                      Tensor::from(std::vector<std::int64_t>{-1}, {1}).value()};
    CHECK(program.run(good, {}, StopCheck()).ok());
  }
}

}  // namespace
