// Values that go from one device of a backend to another.

#include <doctest/doctest.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "tests/support/fake_devices.hpp"
#include "tests/support/graph_runner.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

// The first device of the list does not multiply matrices: x goes there and back.
Graph there_and_back() {
  GraphBuilder b;
  const ValueId x = b.input(DataType::Float32, {3, 4});
  const ValueId y = b.node("MatMul", {b.node("Exp", {x}), b.input(DataType::Float32, {4, 5})});
  b.output(b.node("ReduceSum", {b.node("Neg", {y}), b.ints({1})}));
  return b.graph;
}

class Fixture {
 public:
  explicit Fixture(int ordinal, const std::string& first_plan = "",
                   const std::string& second_plan = "", bool peers = true)
      : setup_(ordinal, peers), first(ordinal, first_plan), second(ordinal + 1, second_plan) {
    program = make({first.open(), second.open()});
    reference = make({host_device()});
  }
  ~Fixture() {
    unsetenv("MINIINFER_FAKE_REFUSE");
    unsetenv("MINIINFER_FAKE_PEERS");
  }

  Status run(unsigned seed) {
    std::mt19937 random(seed);
    const Tensor inputs[] = {random_floats(random, {3, 4}), random_floats(random, {4, 5})};
    Result<std::vector<Tensor>> got = program->run(inputs, {}, StopCheck());
    if (!got) return got.status();
    Result<Tensor> sum = (*got)[0].to(host_device()->device);
    if (!sum) return sum.status();
    check_close(*sum, reference->run(inputs, {}, StopCheck()).value()[0]);
    return {};
  }

 private:
  struct Setup {
    Setup(int ordinal, bool peers) {
      setenv("MINIINFER_FAKE_REFUSE", (std::to_string(ordinal) + "=contract/1").c_str(), 1);
      setenv("MINIINFER_FAKE_PEERS", peers ? "1" : "0", 1);
    }
  };

  static std::unique_ptr<Program> make(std::vector<OpenDevicePtr> devices) {
    auto shared = std::make_shared<ProgramShared>();
    shared->devices = std::move(devices);
    shared->host = host_device();
    shared->allocator_of = [](const OpenDevice& device) { return device.allocator; };
    shared->constants = std::make_unique<ConstantStore>(shared->allocator_of);
    shared->contexts = 1;
    return std::make_unique<Program>(there_and_back(), shared, std::vector<bool>(2));
  }

  Setup setup_;  // before the devices are opened

 public:
  FakeDevice first, second;
  std::unique_ptr<Program> program, reference;
};

TEST_SUITE("runtime.peer") {
  TEST_CASE("what goes from a device to its sibling does not touch the host's memory") {
    Fixture f(24);
    for (unsigned seed = 1; seed < 5; ++seed) {
      const std::uint64_t before = f.first.ledger().copies + f.second.ledger().copies;
      const Status status = f.run(seed);
      REQUIRE_MESSAGE(status.ok(), status.to_string());
      CHECK(f.first.ledger().peer_copies == seed);
      CHECK(f.second.ledger().peer_copies == seed);
      // Two inputs, the output, and a fault block of each.
      if (seed > 2) CHECK(f.first.ledger().copies + f.second.ledger().copies == before + 5);
    }
  }

  TEST_CASE("without copies between devices it goes through the host") {
    Fixture f(24, "", "", false);
    for (unsigned seed = 1; seed < 4; ++seed) {
      const Status status = f.run(seed);
      REQUIRE_MESSAGE(status.ok(), status.to_string());
    }
    CHECK(f.first.ledger().peer_copies == 0);
    CHECK(f.second.ledger().peer_copies == 0);
  }

  TEST_CASE("a failure on either side fails one run, and the next one works") {
    int failures = 0;
    for (const char* site : {"peer", "run", "launch"}) {
      for (int k = 1; k <= 4; ++k) {
        const std::string plan = std::string(site) + "#" + std::to_string(k) + "=fail";
        CAPTURE(plan);
        for (const bool of_first : {true, false}) {
          Fixture f(24, of_first ? plan : "", of_first ? "" : plan);
          for (unsigned seed = 1; seed < 4; ++seed) {
            const Status status = f.run(seed);
            if (status.ok()) continue;
            ++failures;
            CHECK(status.code() == Code::Internal);
            CHECK(f.first.ledger().faults_fired + f.second.ledger().faults_fired == 1);
            const Status again = f.run(seed);
            CHECK_MESSAGE(again.ok(), again.to_string());
          }
        }
      }
    }
    CHECK(failures > 8);
  }

  TEST_CASE("the loss of one device leaves the other one usable") {
    Fixture f(26, "run#4=lost");
    Status status;
    for (unsigned seed = 1; seed < 4 && status.ok(); ++seed) status = f.run(seed);
    CHECK(!status.ok());
    CHECK(f.first.device.state() == DeviceState::Lost);
    CHECK(f.second.device.state() == DeviceState::Ready);
  }
}

}  // namespace
