#include "core/plan/plan.hpp"

#include "tests/plan/plan_case.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

GraphBuilder two_softmax(Shape shape) {
  GraphBuilder b;
  const ValueId x = b.input(DataType::Float32, std::move(shape));
  b.output(b.node("Softmax", {b.node("Softmax", {x})}));
  return b;
}

struct Cached {
  explicit Cached(const Graph& graph, std::vector<OpenDevicePtr> devices)
      : shared(std::make_shared<ProgramShared>()) {
    shared->host = host_device();
    shared->devices = std::move(devices);
    shared->allocator_of = [](const OpenDevice& device) { return device.allocator; };
    shared->constants = std::make_unique<ConstantStore>(shared->allocator_of);
    program = std::make_unique<Program>(graph, shared, std::vector<bool>(graph.inputs.size()));
  }
  PlanPtr plan(Shape shape, std::uint32_t home = 0) {
    const std::vector<InputFact> facts = {{{DataType::Float32, std::move(shape)}, nullptr}};
    const std::vector<std::uint32_t> homes = {home};
    return program->plan_for(facts, homes).value();
  }
  std::shared_ptr<ProgramShared> shared;
  std::unique_ptr<Program> program;
};

TEST_SUITE("plan.plan") {
  TEST_CASE("one device is strict and a second is a fallback") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {2, 8});
    const ValueId relu = b.node("Relu", {x});
    b.output(b.node("Exp", {b.nodes("TopK", {relu, b.ints({3})}, 2)[0]}));
    const FakeDevice fake;
    {
      PlanCase strict(b.graph, {fake.open()});
      const Status status = strict.build().status();
      CHECK(status.code() == Code::Unsupported);
      REQUIRE(status.nodes().size() == 1);
      CHECK(status.nodes()[0].name == "TopK_1");
    }
    {
      PlanCase loose(b.graph, {fake.open(), host_device()});
      const PlanPtr plan = loose.build().value();
      CHECK(labels(*plan) ==
            "transfer on fake:0, pointwise/1 on fake:0, transfer on cpu:0, top_k/1 on cpu:0, "
            "transfer on fake:0, pointwise/1 on fake:0");
      CHECK(plan->results[0].device == 0);
      CHECK(plan->memory.size() == 2);
    }
    std::mt19937 random(1);
    const Tensor input = random_floats(random, {2, 8});
    const GraphRun mixed = run_graph(b.graph, {input}, {}, {fake.open(), host_device()});
    check_close(mixed.outputs[0], run_graph(b.graph, {input}).outputs[0]);
  }

  TEST_CASE("a plan too large to address is refused before anything is allocated") {
    const FakeDevice fake;
    PlanCase asked(two_softmax({1LL << 30, 1LL << 30}).graph, {fake.open()});
    const Status status = asked.build().status();
    CHECK(status.code() == Code::LimitExceeded);
    CHECK(fake.ledger().allocations == 0);
  }

  TEST_CASE("a limit counts the arenas of all contexts") {
    PlanCase asked(two_softmax({1, 1024}).graph);
    asked.request.contexts = 3;
    const PlanPtr plan = asked.build().value();
    const std::uint64_t arena = plan->arenas[0].bytes;
    REQUIRE(arena > 0);
    CHECK(plan->memory[0].peak == plan->memory[0].weights + 3 * arena);
    asked.request.limit_of = [&](const OpenDevice&) { return 3 * arena; };
    CHECK(asked.build().ok());
    asked.request.limit_of = [&](const OpenDevice&) { return 3 * arena - 1; };
    const Status status = asked.build().status();
    CHECK(status.code() == Code::LimitExceeded);
    CHECK(status.message().find("cpu:0 needs") == 0);
  }

  TEST_CASE("an output that is an input in a device's memory is copied there") {
    FakeDevice fake(6);
    GraphBuilder b;
    b.output(b.input(DataType::Float32, {3}));
    const Tensor input = Tensor::from(std::vector<float>{1, 2, 3}, {3}).value();
    const std::vector<Tensor> inputs = {input.to(fake.device).value()};
    const GraphRun run = run_graph(b.graph, inputs, {}, {fake.open()});
    check_close(run.outputs[0].to(host_device()->device).value(), input, 0, 0);
  }

  TEST_CASE("steps that would write nothing are left out") {
    PlanCase asked(two_softmax({0, 8}).graph);
    CHECK(asked.build().value()->steps.empty());
  }

  TEST_CASE("weights are on the device once, however many plans use them") {
    std::mt19937 random(4);
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {3, 32});
    b.output(b.node("MatMul", {x, b.constant(random_floats(random, {32, 32}))}));
    const FakeDevice fake;
    PlanCase asked(b.graph, {fake.open()});
    const PlanPtr first = asked.build().value();
    const auto memory = [&] { return fake.open()->allocator->stats(); };
    const std::uint64_t allocations = memory().allocations;
    CHECK(memory().allocated_bytes == 32 * 32 * 4);
    asked.request.inputs[0].type.shape = {7, 32};
    const PlanPtr second = asked.build().value();
    CHECK(memory().allocations == allocations);
    CHECK(second->constants[0] == first->constants[0]);
  }

  TEST_CASE("a plan is made once for each tuple of shapes") {
    Cached cached(two_softmax({1, 4}).graph, {host_device()});
    const PlanPtr four = cached.plan({1, 4});
    const PlanPtr five = cached.plan({1, 5});
    CHECK(four != five);
    CHECK(cached.plan({1, 4}) == four);
    CHECK(cached.plan({1, 5}) == five);
    CHECK(cached.plan({2, 4}) != four);
    CHECK(cached.program->last_plan() == cached.plan({2, 4}));
  }

  TEST_CASE("where an input lies is part of what a plan is made for") {
    const FakeDevice fake;
    Cached cached(two_softmax({1, 4}).graph, {fake.open(), host_device()});
    const PlanPtr from_host = cached.plan({1, 4}, 1);
    const PlanPtr on_device = cached.plan({1, 4}, 0);
    CHECK(from_host != on_device);
    CHECK(from_host->steps.size() == on_device->steps.size() + 1);
    CHECK(cached.plan({1, 4}, 1) == from_host);
  }

  TEST_CASE("of many plans the least recently used goes") {
    Cached cached(two_softmax({1, 1}).graph, {host_device()});
    const PlanPtr kept = cached.plan({1, 1});
    const std::weak_ptr<const Plan> gone = cached.plan({1, 2});
    for (std::int64_t n = 3; n < 18; ++n) {
      (void)cached.plan({1, n});
      CHECK(cached.plan({1, 1}) == kept);
    }
    CHECK(gone.expired());
  }

  TEST_CASE("a plan that failed leaves the cache as it was") {
    Cached cached(two_softmax({1, 4}).graph, {host_device()});
    const PlanPtr good = cached.plan({1, 4});
    const std::vector<InputFact> facts = {{{DataType::Float32, {1LL << 31, 1LL << 31}}, nullptr}};
    const std::vector<std::uint32_t> homes = {0};
    CHECK_FALSE(cached.program->plan_for(facts, homes).ok());
    CHECK(cached.program->last_plan() == good);
    CHECK(cached.plan({1, 4}) == good);
  }
}

}  // namespace
