#include "core/plan/memory.hpp"

#include <algorithm>

#include "core/base/checked_math.hpp"

namespace miniinfer {
namespace {

constexpr std::uint32_t kNever = ~0u;

// Values that share memory, and when that memory is in use.
class Sharing {
 public:
  Sharing(const Graph& graph, const Schedule& schedule, std::span<const ItemMemory> items)
      : graph_(graph),
        root_(graph.value_count()),
        last_(graph.value_count(), 0),
        first_(graph.value_count(), kNever) {
    for (ValueId id = 0; id < root_.size(); ++id) root_[id] = id;
    for (const Node& node : graph.nodes()) {
      if (!node.removed && node.op == "view") root_[node.outputs[0]] = root(node.inputs[0]);
    }
    for (std::uint32_t step = 0; step < items.size(); ++step) {
      const Item& item = schedule.items[step];
      if (item.kind == Item::Transfer) {
        read(item.from, step);
        write(item.to, step);
        continue;
      }
      for (const ValueId id : items[step].inputs) {
        if (id != kNoValue) read(id, step);
      }
      for (const ValueId id : items[step].outputs) write(id, step);
    }
  }

  ValueId root(ValueId id) const {
    while (root_[id] != id) id = root_[id];
    return id;
  }
  std::uint32_t first(ValueId root) const { return first_[root]; }
  std::uint32_t last(ValueId root) const { return last_[root]; }
  void keep_until(ValueId id, std::uint32_t step) {
    last_[root(id)] = std::max(last_[root(id)], step);
  }

  // Gives `output` the memory of `input`; both are roots.
  void merge(ValueId input, ValueId output) {
    root_[output] = input;
    last_[input] = std::max(last_[input], last_[output]);
  }

  std::uint64_t bytes(ValueId id) const {
    const Value& value = graph_.value(id);
    return *byte_count(value.dtype, *value.shape);
  }

 private:
  void read(ValueId id, std::uint32_t step) { keep_until(id, step); }
  void write(ValueId id, std::uint32_t step) {
    first_[root(id)] = std::min(first_[root(id)], step);
    keep_until(id, step);
  }

  const Graph& graph_;
  std::vector<ValueId> root_;
  std::vector<std::uint32_t> last_, first_;
};

// Outputs that take over the memory of an input which is not needed after the item.
void share_in_place(const ItemMemory& item, std::uint32_t step, const std::vector<Slot>& slots,
                    Sharing& sharing) {
  for (std::size_t o = 0; o < item.outputs.size() && o < 8; ++o) {
    const ValueId output = sharing.root(item.outputs[o]);
    if (slots[output].place != Slot::None || sharing.first(output) != step) continue;
    for (std::size_t i = 0; i < item.inputs.size() && i < 8; ++i) {
      if ((item.in_place >> (o * 8 + i) & 1) == 0 || item.inputs[i] == kNoValue) continue;
      const ValueId input = sharing.root(item.inputs[i]);
      if (slots[input].place != Slot::None || sharing.last(input) != step || input == output ||
          sharing.bytes(item.inputs[i]) != sharing.bytes(item.outputs[o])) {
        continue;
      }
      const auto readers = std::count_if(item.inputs.begin(), item.inputs.end(), [&](ValueId id) {
        return id != kNoValue && sharing.root(id) == input;
      });
      const bool taken = std::any_of(item.outputs.begin(), item.outputs.end(),
                                     [&](ValueId id) { return sharing.root(id) == input; });
      if (readers != 1 || taken) continue;
      sharing.merge(input, output);
      break;
    }
  }
}

// Planning must not be felt when a model is loaded: some milliseconds, only where greedy methods
// miss the bound. Counted in nodes, not time, so that a model has one plan.
PlanOptions search_of(std::size_t buffers) {
  constexpr std::uint64_t kBufferNodes = 500000;
  PlanOptions options;
  options.nodes = kBufferNodes / std::max<std::size_t>(buffers, 1);
  return options;
}

}  // namespace

Result<MemoryLayout> lay_out_memory(const Graph& graph, const Schedule& schedule,
                                    std::span<const ItemMemory> items,
                                    std::span<const OpenDevicePtr> devices) {
  MemoryLayout layout;
  const auto end = static_cast<std::uint32_t>(items.size());
  Sharing sharing(graph, schedule, items);

  // Fixed places first, on the roots: constants, inputs, outputs.
  std::vector<Slot>& slots = layout.slots;
  slots.resize(graph.value_count());
  for (ValueId id = 0; id < graph.value_count(); ++id) {
    if (graph.value(id).constant) slots[id] = {Slot::Constant, 0, id, 0};
  }
  for (std::uint32_t i = 0; i < graph.inputs.size(); ++i) {
    slots[graph.inputs[i]] = {Slot::Input, schedule.home[graph.inputs[i]], i, 0};
  }
  for (std::uint32_t i = 0; i < graph.outputs.size(); ++i) {
    const ValueId root = sharing.root(graph.outputs[i]);
    if (slots[root].place == Slot::None) {
      slots[root] = {Slot::Output, schedule.home[root], i, 0};
    } else {
      layout.copied_outputs.emplace_back(i, graph.outputs[i]);
    }
  }
  for (std::uint32_t step = 0; step < items.size(); ++step) {
    share_in_place(items[step], step, slots, sharing);
  }

  // What is left goes into the arenas.
  layout.workspaces.resize(items.size());
  layout.faults.resize(devices.size());
  layout.arenas.resize(devices.size());
  for (std::uint32_t d = 0; d < devices.size(); ++d) {
    const std::uint64_t alignment = std::max<std::uint64_t>(64, devices[d]->info.memory_alignment);
    std::vector<PlanBuffer> buffers;
    std::vector<Slot*> owners;
    std::vector<std::string> names;
    const auto add = [&](std::uint64_t bytes, std::uint32_t first, std::uint32_t last, Slot* owner,
                         std::string name) {
      std::uint64_t rounded = 0;
      if (!checked_align_up(bytes, alignment, &rounded)) rounded = bytes;  // is refused below
      buffers.push_back({rounded, first, std::uint64_t{last} + 1, alignment});
      owners.push_back(owner);
      names.push_back(std::move(name));
    };
    for (ValueId id = 0; id < graph.value_count(); ++id) {
      if (sharing.root(id) != id || slots[id].place != Slot::None || schedule.home[id] != d ||
          sharing.first(id) == kNever) {
        continue;
      }
      add(sharing.bytes(id), sharing.first(id), sharing.last(id), &slots[id], graph.value(id).name);
    }
    ArenaUse& use = layout.arenas[d];
    Result<ArenaPlan> without = plan_arena(buffers, search_of(buffers.size()));
    if (!without) return without.status();
    use.activations = without->bytes;

    for (std::uint32_t step = 0; step < items.size(); ++step) {
      const std::uint64_t bytes = items[step].workspace_bytes;
      if (schedule.items[step].device != d || bytes == 0) continue;
      use.workspace = std::max(use.workspace, bytes);
      add(bytes, step, step, &layout.workspaces[step], "workspace");
    }
    add(sizeof(miniinfer_fault), 0, end, &layout.faults[d], "fault");
    Result<ArenaPlan> plan = plan_arena(buffers, search_of(buffers.size()));
    if (!plan) return plan.status();
    if (Status status = verify_arena(buffers, *plan); !status.ok()) return status;
    use.bytes = plan->bytes;
    use.lower_bound = plan->lower_bound;
    for (std::size_t i = 0; i < owners.size(); ++i) {
      *owners[i] = {Slot::Arena, d, 0, plan->offsets[i]};
      if (buffers[i].bytes == 0) continue;
      use.buffers.push_back({std::move(names[i]), buffers[i].bytes, buffers[i].begin,
                             buffers[i].end, plan->offsets[i]});
    }
  }
  for (ValueId id = 0; id < graph.value_count(); ++id) slots[id] = slots[sharing.root(id)];
  return layout;
}

}  // namespace miniinfer
