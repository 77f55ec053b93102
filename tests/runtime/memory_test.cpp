// Where the memory of a run comes from.

#include "tests/support/fake_devices.hpp"
#include "tests/support/graph_runner.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

Graph product(std::mt19937& random, std::int64_t size) {
  GraphBuilder b;
  const ValueId x = b.input(DataType::Float32, {4, size});
  const ValueId weights = b.constant(random_floats(random, {size, size}));
  b.output(b.node("ReduceSum", {b.node("Relu", {b.node("MatMul", {x, weights})}), b.ints({1})}));
  return b.graph;
}

class Fixture {
 public:
  explicit Fixture(int ordinal) : fake(ordinal) {
    shared = std::make_shared<ProgramShared>();
    shared->devices = {fake.open()};
    shared->host = host_device();
    shared->allocator_of = [](const OpenDevice& device) { return device.allocator; };
    shared->constants = std::make_unique<ConstantStore>(shared->allocator_of);
    shared->contexts = 1;
  }

  PoolAllocator& pool() const { return *shared->devices[0]->allocator->pool(); }
  Result<std::vector<Tensor>> run(std::int64_t size) {
    std::mt19937 random(8);
    Program program(product(random, size), shared, std::vector<bool>(1));
    const Tensor inputs[] = {random_floats(random, {4, size})};
    return program.run(inputs, {}, StopCheck());
  }

  FakeDevice fake;
  std::shared_ptr<ProgramShared> shared;
};

TEST_SUITE("runtime.memory") {
  TEST_CASE("weights, arenas and outputs come from the device's pool, in few pieces") {
    Fixture f(21);
    REQUIRE(f.run(32));
    const PoolStats first = f.pool().pool_stats();
    CHECK(first.allocation.allocated >= 3);
    CHECK(first.allocation.current == 0);
    CHECK(first.num_refused_frees == 0);
    const std::uint64_t pieces = f.fake.ledger().allocations;
    CHECK(f.fake.ledger().live_allocations > 0);  // kept for the next session
    for (int i = 0; i < 3; ++i) REQUIRE(f.run(32));
    CHECK(f.pool().pool_stats().allocation.allocated == 4 * first.allocation.allocated);
    CHECK(f.fake.ledger().allocations == pieces);
    CHECK(f.pool().check() == "");
    CHECK(f.pool().trim(0) > 0);
    CHECK(f.pool().pool_stats().reserved_bytes.current == 0);
  }

  TEST_CASE("a session that does not fit says who refused, and what for") {
    Fixture f(28);
    f.pool().set_limit(std::uint64_t{3} << 20);
    const Status status = f.run(1024).status();
    CHECK(status.code() == Code::LimitExceeded);
    const auto report = status.memory_report();
    REQUIRE(report);
    CHECK(report->tag == "weights");
    CHECK(report->asked_bytes == std::uint64_t{4} << 20);
    CHECK(report->limit == "the pool of fake:28");
    CHECK(report->limit_bytes == std::uint64_t{3} << 20);
    f.pool().set_limit(std::uint64_t{64} << 20);
    CHECK(f.run(1024));
  }

  TEST_CASE("memory between two devices that share none is staged in the host's pool") {
    FakeDevice first(22), second(23);
    std::mt19937 random(9);
    const Tensor input = random_floats(random, {64});
    const Tensor there = input.to(first.device).value();
    check_close(there.to(second.device).value().to(Device()).value(), input, 0, 0);
  }
}

}  // namespace
