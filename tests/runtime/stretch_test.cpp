#include "core/runtime/stretch.hpp"

#include "core/device/open_device.hpp"
#include "tests/support/fake_devices.hpp"
#include "tests/support/graph_runner.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

// x -> 3 steps on the device. Softmax is decomposed there.
Graph three_steps() {
  GraphBuilder b;
  const ValueId x = b.input(DataType::Float32, {2, 6});
  const ValueId sum = b.node("ReduceSum", {x, b.ints({1})});
  const ValueId moved = b.node("Transpose", {b.node("Add", {x, sum})});
  b.output(b.node("Exp", {b.node("ReduceMax", {moved, b.ints({1})})}));
  return b.graph;
}

class Fixture {
 public:
  Fixture(int ordinal, std::vector<std::string> disabled = {}, const std::string& plan = "")
      : fake(ordinal, plan) {
    auto shared = std::make_shared<ProgramShared>();
    shared->devices = {fake.open()};
    shared->host = host_device();
    shared->allocator_of = [](const OpenDevice& device) { return device.allocator; };
    shared->constants = std::make_unique<ConstantStore>(shared->allocator_of);
    shared->disabled_passes = std::move(disabled);
    shared->contexts = 1;
    program = std::make_unique<Program>(three_steps(), shared, std::vector<bool>(1));
    reference = std::make_unique<Program>(three_steps(), host_only(*shared), std::vector<bool>(1));
  }

  // Runs with the given input in `slot`'s memory of the device and compares.
  void run(std::mt19937& random, std::size_t slot = 0) {
    const Tensor input = random_floats(random, {2, 6});
    const Device device = fake.device;
    while (inputs.size() <= slot) {
      inputs.push_back(input.to(device).value());
      outputs.push_back(Tensor::empty(DataType::Float32, {6, 1}, device).value());
    }
    const Block source = input.block();
    REQUIRE(copy_now(*fake.open(), MINIINFER_COPY_HOST_TO_DEVICE, inputs[slot].block(), source,
                     source.bytes)
                .ok());
    const Tensor given[] = {inputs[slot]};
    const Tensor wanted[] = {outputs[slot]};
    Result<std::vector<Tensor>> got = program->run(given, wanted, StopCheck());
    REQUIRE_MESSAGE(got, got.status().to_string());
    const Tensor host_given[] = {input};
    check_close((*got)[0].to(host_device()->device).value(),
                reference->run(host_given, {}, StopCheck()).value()[0]);
  }

  // The same with the output in memory that the runtime gets.
  Tensor run_freely(std::mt19937& random) {
    const Tensor input = random_floats(random, {2, 6});
    const Device device = fake.device;
    if (inputs.empty()) inputs.push_back(input.to(device).value());
    REQUIRE(copy_now(*fake.open(), MINIINFER_COPY_HOST_TO_DEVICE, inputs[0].block(), input.block(),
                     input.block().bytes)
                .ok());
    const Tensor given[] = {inputs[0]};
    Result<std::vector<Tensor>> got = program->run(given, {}, StopCheck());
    REQUIRE_MESSAGE(got, got.status().to_string());
    const Tensor host_given[] = {input};
    check_close((*got)[0].to(host_device()->device).value(),
                reference->run(host_given, {}, StopCheck()).value()[0]);
    return std::move((*got)[0]);
  }

  // Of the pool of device memory.
  std::uint64_t driver_calls() const {
    return fake.open()->allocator->pool()->pool_stats().num_driver_calls;
  }
  std::uint64_t replays() const { return fake.ledger().replays; }

  FakeDevice fake;
  std::unique_ptr<Program> program, reference;
  std::vector<Tensor> inputs, outputs;

 private:
  static std::shared_ptr<ProgramShared> host_only(const ProgramShared& like) {
    auto shared = std::make_shared<ProgramShared>();
    shared->devices = {like.host};
    shared->host = like.host;
    shared->allocator_of = like.allocator_of;
    shared->constants = std::make_unique<ConstantStore>(like.allocator_of);
    shared->contexts = 1;
    return shared;
  }
};

TEST_SUITE("runtime.stretch") {
  TEST_CASE("the second run over the same memory is recorded, and all from then on are replayed") {
    Fixture f(20);
    std::mt19937 random(1);
    f.run(random);
    CHECK(f.replays() == 0);
    const std::uint64_t launches = f.fake.ledger().launches;
    f.run(random);
    CHECK(f.replays() == 1);
    CHECK(f.fake.ledger().launches == 2 * launches);
    for (int i = 0; i < 5; ++i) f.run(random);
    CHECK(f.replays() == 6);
    CHECK(f.fake.ledger().launches == 2 * launches);  // no kernel was put on the stream again
    const Placement& placement = f.program->last_plan()->placement;
    REQUIRE(placement.captures.size() == 1);
    CHECK(placement.captures[0].steps == placement.captures[0].kernels);
    CHECK(placement.captures[0].pieces == 1);
    CHECK(placement.captures[0].reason.empty());
  }

  TEST_CASE("callers who take turns between buffers replay too, and other memory is no error") {
    Fixture f(21);
    std::mt19937 random(2);
    for (int i = 0; i < 3; ++i) f.run(random, 0);
    CHECK(f.replays() == 2);
    for (int i = 0; i < 3; ++i) f.run(random, 1);
    CHECK(f.replays() == 4);
    for (int i = 0; i < 3; ++i) {
      f.run(random, 0);
      f.run(random, 1);
    }
    CHECK(f.replays() == 10);
    for (std::size_t slot = 2; slot < 10; ++slot) f.run(random, slot);
    CHECK(f.replays() == 10);
  }

  TEST_CASE("outputs that the runtime makes come back in the same memory, so that runs replay") {
    Fixture f(20);
    std::mt19937 random(6);
    (void)f.run_freely(random);
    const std::uint64_t calls = f.driver_calls();
    for (int i = 0; i < 5; ++i) (void)f.run_freely(random);
    CHECK(f.replays() == 5);
    CHECK(f.driver_calls() == calls);
  }

  TEST_CASE("who keeps each result until the next one is there takes turns, and replays too") {
    Fixture f(21);
    std::mt19937 random(7);
    Tensor kept = f.run_freely(random);
    const std::uint64_t calls = f.driver_calls();
    for (int i = 0; i < 10; ++i) kept = f.run_freely(random);
    CHECK(f.replays() == 9);
    CHECK(f.driver_calls() == calls);
  }

  TEST_CASE("nothing is recorded where the user switched it off") {
    Fixture f(22, {"graph-capture"});
    std::mt19937 random(3);
    for (int i = 0; i < 4; ++i) f.run(random);
    CHECK(f.replays() == 0);
    CHECK(f.program->last_plan()->placement.captures.empty());
  }

  TEST_CASE("where recording fails the run is an ordinary one, and no other try is made") {
    Fixture f(23, {}, "capture#1=fail");
    std::mt19937 random(4);
    for (int i = 0; i < 5; ++i) f.run(random);
    CHECK(f.replays() == 0);
    CHECK(f.fake.ledger().faults_fired == 1);
  }

  TEST_CASE("a recording that cannot be ended is run in the ordinary way") {
    Fixture f(24, {}, "capture#2=fail");
    std::mt19937 random(5);
    for (int i = 0; i < 5; ++i) f.run(random);
    CHECK(f.replays() == 0);
  }
}

}  // namespace
