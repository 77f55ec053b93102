#include "core/plan/schedule.hpp"

#include <algorithm>
#include <set>

#include "tests/plan/plan_case.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

// Schedules a graph whose nodes stand where `devices_of_nodes` says.
struct Scheduled {
  Scheduled(const Graph& source, std::vector<OpenDevicePtr> list,
            const std::vector<std::uint32_t>& devices_of_nodes, std::uint32_t input_home,
            bool fuse = true) {
    PlanCase asked(source, list);
    asked.request.disabled_passes = {"fuse-pointwise"};
    graph = asked.kernels();
    REQUIRE(graph.node_count() == devices_of_nodes.size());
    std::vector<NodePlace> places;
    for (const std::uint32_t device : devices_of_nodes) places.push_back({device, ""});
    const std::vector<std::uint32_t> homes(graph.inputs.size(), input_home);
    schedule = make_schedule(graph, list, places, homes, fuse);
  }

  // "kernel@0 transfer@0>1 kernel@1"
  std::string text() const {
    std::string out;
    for (const Item& item : schedule.items) {
      out += out.empty() ? "" : " ";
      if (item.kind == Item::Transfer) {
        out += "transfer@" + std::to_string(item.from_device) + ">" + std::to_string(item.device);
      } else {
        out += "kernel@" + std::to_string(item.device);
        if (item.nodes.size() > 1) out += "x" + std::to_string(item.nodes.size());
      }
    }
    return out;
  }

  // Every item reads what is there before it, on its own device.
  void check_order(std::span<const OpenDevicePtr> list) const {
    std::set<ValueId> there(graph.inputs.begin(), graph.inputs.end());
    for (const Item& item : schedule.items) {
      if (item.kind == Item::Transfer) {
        CHECK(there.count(item.from) == 1);
        CHECK(schedule.home[item.from] == item.from_device);
        CHECK(schedule.home[item.to] == item.device);
        there.insert(item.to);
      }
      for (const NodeId id : item.nodes) {
        for (const ValueId input : graph.node(id).inputs) {
          if (graph.value(input).constant) continue;
          CHECK(there.count(input) == 1);
          CHECK(list[schedule.home[input]]->domain() == list[item.device]->domain());
        }
        there.insert(graph.node(id).outputs.begin(), graph.node(id).outputs.end());
      }
    }
    for (const ValueId output : graph.outputs) CHECK(there.count(output) == 1);
  }

  Graph graph;
  Schedule schedule;
};

// Neg, then two readers of it, then their sum with a constant.
Graph diamond() {
  GraphBuilder b;
  const ValueId x = b.input(DataType::Float32, {2, 4});
  const ValueId neg = b.node("Neg", {x});
  const ValueId sum = b.node("Add", {b.node("Exp", {neg}), b.node("Abs", {neg})});
  b.output(b.node("Mul", {sum, b.floats({1, 2, 3, 4}, {4})}));
  return b.graph;
}

Graph conv_relu(bool conv_is_output = false, bool relu_twice = false) {
  std::mt19937 random(2);
  GraphBuilder b;
  const ValueId x = b.input(DataType::Float32, {1, 1, 6, 6});
  const ValueId conv = b.node("Conv", {x, b.constant(random_floats(random, {2, 1, 3, 3}))});
  b.output(b.node("Relu", {conv}));
  if (relu_twice) b.output(b.node("Neg", {conv}));
  if (conv_is_output) b.output(conv);
  return b.graph;
}

TEST_SUITE("plan.schedule") {
  TEST_CASE("on one device nothing is copied") {
    const FakeDevice fake;
    const std::vector<OpenDevicePtr> list = {fake.open()};
    const Scheduled made(diamond(), list, {0, 0, 0, 0, 0}, 0);
    CHECK(made.text() == "kernel@0 kernel@0 kernel@0 kernel@0 kernel@0");
    made.check_order(list);
  }

  TEST_CASE("a value that crosses a border is copied once, however many read it there") {
    const FakeDevice fake;
    const std::vector<OpenDevicePtr> list = {fake.open(), host_device()};
    const Scheduled made(diamond(), list, {1, 0, 0, 0, 0}, 1);
    CHECK(made.text() == "kernel@1 transfer@1>0 kernel@0 kernel@0 kernel@0 kernel@0");
    made.check_order(list);
  }

  TEST_CASE("an input is copied where it is read, and not where nobody reads it") {
    const FakeDevice fake;
    const std::vector<OpenDevicePtr> list = {fake.open(), host_device()};
    CHECK(Scheduled(diamond(), list, {0, 0, 0, 0, 0}, 1).text() ==
          "transfer@1>0 kernel@0 kernel@0 kernel@0 kernel@0 kernel@0");
    CHECK(Scheduled(diamond(), list, {1, 1, 1, 1, 1}, 0).text() ==
          "transfer@0>1 kernel@1 kernel@1 kernel@1 kernel@1 kernel@1");
  }

  TEST_CASE("there and back are two copies, and two fake devices share nothing") {
    const FakeDevice one(0), two(1);
    const std::vector<OpenDevicePtr> list = {one.open(), two.open(), host_device()};
    const Scheduled made(diamond(), list, {0, 1, 2, 0, 0}, 2);
    CHECK(made.text() ==
          "transfer@2>0 kernel@0 transfer@0>1 kernel@1 transfer@0>2 kernel@2 transfer@1>0 "
          "transfer@2>0 kernel@0 kernel@0");
    made.check_order(list);
  }

  TEST_CASE("devices of one memory domain exchange values without a copy") {
    const std::vector<OpenDevicePtr> list = {host_device(), host_device()};
    CHECK(Scheduled(diamond(), list, {0, 1, 0, 1, 0}, 1).text() ==
          "kernel@0 kernel@1 kernel@0 kernel@1 kernel@0");
  }

  TEST_CASE("constants, and views of them, are never copied by a step") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {4, 2});
    b.output(b.node("Add", {x, b.floats({1, 2, 3, 4, 5, 6, 7, 8}, {4, 2})}));
    const FakeDevice fake;
    const std::vector<OpenDevicePtr> list = {fake.open(), host_device()};
    CHECK(Scheduled(b.graph, list, {0}, 0).text() == "kernel@0");
  }

  TEST_CASE("a pointwise node joins the kernel before it") {
    const FakeDevice fake;
    const std::vector<OpenDevicePtr> list = {fake.open(), host_device()};
    CHECK(Scheduled(conv_relu(), list, {0, 0}, 0).text() == "kernel@0x2");
    SUBCASE("unless that is not wanted") {
      CHECK(Scheduled(conv_relu(), list, {0, 0}, 0, false).text() == "kernel@0 kernel@0");
    }
    SUBCASE("unless it stands on another device") {
      CHECK(Scheduled(conv_relu(), list, {0, 1}, 0).text() == "kernel@0 transfer@0>1 kernel@1");
    }
    SUBCASE("unless the value between them is an output") {
      CHECK(Scheduled(conv_relu(true), list, {0, 0}, 0).text() == "kernel@0 kernel@0");
    }
    SUBCASE("unless another node reads the value between them") {
      CHECK(Scheduled(conv_relu(false, true), list, {0, 0, 0}, 0).text() ==
            "kernel@0 kernel@0 kernel@0");
    }
  }

  TEST_CASE("what a device does not run as one stays apart") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {2, 4});
    b.output(b.node("Relu", {b.node("ReduceSum", {x, b.ints({1})})}));
    const FakeDevice fake;
    const std::vector<OpenDevicePtr> list = {fake.open()};
    CHECK(Scheduled(b.graph, list, {0, 0}, 0).text() == "kernel@0 kernel@0");
  }
}

}  // namespace
