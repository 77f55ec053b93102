#include "core/plan/memory.hpp"

#include <map>

#include "tests/plan/plan_case.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

// The layout of a graph on one device, every node an item of its own.
struct LaidOut {
  explicit LaidOut(const Graph& source, std::uint64_t in_place = 0, std::uint64_t workspace = 0) {
    PlanCase asked(source);
    asked.request.disabled_passes = {"fuse-pointwise"};
    graph = asked.kernels();
    schedule =
        make_schedule(graph, asked.request.devices, std::vector<NodePlace>(graph.node_count()),
                      asked.request.input_devices, false);
    for (const Item& item : schedule.items) {
      const Node& node = graph.node(item.nodes.front());
      items.push_back({workspace, in_place, node.inputs, node.outputs});
    }
    Result<MemoryLayout> made = lay_out_memory(graph, schedule, items, asked.request.devices);
    status = made.status();
    if (made) layout = std::move(*made);
  }
  const Slot& slot(ValueId id) const { return layout.slots[id]; }
  const Slot& output_slot(std::size_t i) const { return slot(graph.outputs[i]); }
  ValueId made_by(std::size_t item) const {
    return graph.node(schedule.items[item].nodes.front()).outputs[0];
  }

  Graph graph;
  Schedule schedule;
  std::vector<ItemMemory> items;
  MemoryLayout layout;
  Status status;
};

constexpr std::uint64_t kAnyInput = 0xff;  // output 0 may take over any input

GraphBuilder chain(int nodes, Shape shape = {16}) {
  GraphBuilder b;
  ValueId x = b.input(DataType::Float32, std::move(shape));
  for (int i = 0; i < nodes; ++i) x = b.node("Neg", {x});
  b.output(x);
  return b;
}

TEST_SUITE("plan.memory") {
  TEST_CASE("inputs are read and outputs written where the caller has them") {
    const LaidOut made(chain(3).graph);
    CHECK(made.slot(made.graph.inputs[0]).place == Slot::Input);
    CHECK(made.output_slot(0).place == Slot::Output);
    CHECK(made.layout.copied_outputs.empty());
    // Two values in between, both alive in the second step.
    CHECK(made.layout.arenas[0].activations == 128);
  }

  TEST_CASE("an output takes over an input that dies, and never the caller's") {
    const LaidOut made(chain(4).graph, kAnyInput);
    CHECK(made.layout.arenas[0].activations == 64);
    CHECK(made.slot(made.made_by(0)).place == Slot::Arena);
    CHECK(made.slot(made.made_by(1)).offset == made.slot(made.made_by(0)).offset);
    CHECK(made.slot(made.graph.inputs[0]).place == Slot::Input);
  }

  TEST_CASE("an input that is read again, or twice by one step, is not taken over") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {16});
    const ValueId neg = b.node("Neg", {x});
    const ValueId exp = b.node("Exp", {neg});
    const ValueId square = b.node("Mul", {exp, exp});
    b.output(b.node("Add", {square, neg}));
    const LaidOut made(b.graph, kAnyInput);
    CHECK(made.slot(made.made_by(1)).offset != made.slot(made.made_by(0)).offset);
    CHECK(made.slot(made.made_by(2)).offset != made.slot(made.made_by(1)).offset);
  }

  TEST_CASE("an input of another size is not taken over") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {4, 16});
    const ValueId sum = b.node("ReduceSum", {b.node("Neg", {x}), b.ints({1})});
    b.output(b.node("Exp", {sum}));
    const LaidOut made(b.graph, kAnyInput);
    CHECK(made.layout.arenas[0].activations == 256 + 64);
  }

  TEST_CASE("a view has the bytes of what it looks at, and keeps them alive") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {4, 8});
    const ValueId neg = b.node("Neg", {x});
    const ValueId flat = b.node("Reshape", {neg, b.ints({32})});
    const ValueId other = b.node("Exp", {x});
    b.output(b.node("Add", {b.node("Abs", {flat}), b.node("Reshape", {other, b.ints({32})})}));
    const LaidOut made(b.graph);
    REQUIRE(ops(made.graph) == "pointwise/1 view pointwise/1 pointwise/1 view pointwise/1");
    const ValueId source = made.graph.node(1).inputs[0];
    const ValueId view = made.graph.node(1).outputs[0];
    CHECK(made.slot(view).place == Slot::Arena);
    CHECK(made.slot(view).offset == made.slot(source).offset);
    // Alive until Abs has read it, so Exp's result is elsewhere.
    CHECK(made.slot(made.graph.node(2).outputs[0]).offset != made.slot(source).offset);
  }

  TEST_CASE("outputs that nobody writes are copied at the end of the run") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {4});
    const ValueId neg = b.node("Neg", {x});
    b.output(neg);
    b.output(x);
    b.output(b.floats({1, 2}, {2}));
    b.output(neg);
    const LaidOut made(b.graph);
    const auto& outputs = made.graph.outputs;
    using Copies = std::vector<std::pair<std::uint32_t, ValueId>>;
    CHECK(made.layout.copied_outputs == Copies{{1, outputs[1]}, {2, outputs[2]}, {3, outputs[3]}});
    CHECK(made.slot(outputs[0]).place == Slot::Output);
    CHECK(made.slot(outputs[1]).place == Slot::Input);
    CHECK(made.slot(outputs[2]).place == Slot::Constant);

    const Tensor input = Tensor::from(std::vector<float>{1, -2, 3, 4}, {4}).value();
    const GraphRun run = run_graph(b.graph, {input});
    check_close(run.outputs[1], input, 0, 0);
    check_close(run.outputs[2], Tensor::from(std::vector<float>{1, 2}, {2}).value(), 0, 0);
    check_close(run.outputs[3], run.outputs[0], 0, 0);
  }

  TEST_CASE("workspaces lie in the arena and are counted apart") {
    const LaidOut made(chain(2).graph, 0, 1000);
    REQUIRE(made.layout.workspaces.size() == 2);
    CHECK(made.layout.workspaces[0].place == Slot::Arena);
    CHECK(made.layout.arenas[0].workspace == 1000);
    CHECK(made.layout.arenas[0].activations == 64);
    CHECK(made.layout.arenas[0].bytes >= 1000 + 64);
    CHECK(made.layout.arenas[0].bytes >= made.layout.arenas[0].lower_bound);
  }

  TEST_CASE("an arena that no machine could address is refused") {
    // Each value's bytes can be counted; the sum of them cannot.
    const LaidOut values(chain(12, {1LL << 58}).graph);
    CHECK(values.status.code() == Code::LimitExceeded);
    const LaidOut workspace(chain(2).graph, 0, ~std::uint64_t{0} - 70);
    CHECK(workspace.status.code() == Code::LimitExceeded);
  }

  TEST_CASE("in random graphs nothing that is alive is written over") {
    std::mt19937 random(11);
    for (int round = 0; round < 60; ++round) {
      GraphBuilder b;
      std::vector<ValueId> values = {b.input(DataType::Float32, {8, 8}),
                                     b.input(DataType::Float32, {8, 8})};
      const int nodes = 2 + static_cast<int>(random() % 30);
      for (int i = 0; i < nodes; ++i) {
        const auto pick = [&] { return values[random() % values.size()]; };
        switch (random() % 3) {
          case 0:
            values.push_back(b.node("Neg", {pick()}));
            break;
          case 1:
            values.push_back(b.node("Add", {pick(), pick()}));
            break;
          default:
            values.push_back(b.node("MatMul", {pick(), pick()}));
        }
      }
      b.output(values.back());
      b.output(values[values.size() / 2]);
      const LaidOut made(b.graph, random() % 2 == 0 ? kAnyInput : 0, random() % 200);
      REQUIRE(made.status.ok());

      // Replayed with whose bytes lie where: a step must find its operands as they were written.
      std::map<std::uint64_t, ValueId> owner;  // by offset, in units of 64
      const auto write = [&](const Slot& slot, std::uint64_t bytes, ValueId id) {
        if (slot.place != Slot::Arena) return;
        REQUIRE(slot.offset % 64 == 0);
        REQUIRE(slot.offset + bytes <= made.layout.arenas[0].bytes);
        for (std::uint64_t at = 0; at < bytes; at += 64) owner[slot.offset + at] = id;
      };
      for (std::size_t step = 0; step < made.items.size(); ++step) {
        const ItemMemory& item = made.items[step];
        write(made.layout.workspaces[step], item.workspace_bytes, kNoValue);
        for (const ValueId id : item.inputs) {
          if (made.slot(id).place != Slot::Arena) continue;
          for (std::uint64_t at = 0; at < 256; at += 64) {
            REQUIRE(owner[made.slot(id).offset + at] == id);
          }
        }
        write(made.slot(item.outputs[0]), 256, item.outputs[0]);
      }
    }
  }
}

}  // namespace
