#include "core/plan/schedule.hpp"

#include <algorithm>
#include <map>

#include "core/plan/support.hpp"
#include "miniinfer/abi/op/pointwise.h"

namespace miniinfer {
namespace {

// The pointwise node that can follow `id` in one kernel: the only reader of its only output, of the
// same shape, on the same device; kNoNode where there is none.
NodeId find_epilogue(const Graph& graph, NodeId id, const std::vector<std::vector<NodeId>>& uses,
                     std::span<const NodePlace> places) {
  const Node& node = graph.node(id);
  if (node.op == MINIINFER_POINTWISE || node.outputs.size() != 1) return kNoNode;
  const ValueId value = node.outputs[0];
  if (uses[value].empty() || graph.is_output(value)) return kNoNode;
  const NodeId reader = uses[value].front();
  if (std::any_of(uses[value].begin(), uses[value].end(),
                  [&](NodeId other) { return other != reader; })) {
    return kNoNode;
  }
  const Node& next = graph.node(reader);
  if (next.op != MINIINFER_POINTWISE || places[reader].device != places[id].device ||
      graph.value(next.outputs[0]).shape != graph.value(value).shape) {
    return kNoNode;
  }
  return reader;
}

// Groups. A group stands at its last node's place in the order, so that all it reads is there.
std::vector<Item> group_nodes(const Graph& graph, std::span<const OpenDevicePtr> devices,
                              std::span<const NodePlace> places, bool fuse, std::uint32_t math) {
  const std::vector<std::vector<NodeId>> uses = graph.uses();
  std::vector<std::vector<NodeId>> leads(graph.node_count());  // by last node: those before it
  std::vector<bool> taken(graph.node_count());
  for (NodeId id = 0; fuse && id < graph.node_count(); ++id) {
    if (graph.node(id).removed || graph.node(id).op == "view") continue;
    const NodeId epilogue = find_epilogue(graph, id, uses, places);
    if (epilogue == kNoNode || !leads[epilogue].empty()) continue;
    const NodeId nodes[] = {id, epilogue};
    const Region region(graph, nodes, graph.node(epilogue).outputs, math);
    if (!query_support(*devices[places[id].device], region).yes) continue;
    leads[epilogue] = {id};
    taken[id] = true;
  }
  std::vector<Item> items;
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    if (graph.node(id).removed || graph.node(id).op == "view" || taken[id]) continue;
    Item item;
    item.device = places[id].device;
    item.nodes = leads[id];
    item.nodes.push_back(id);
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace

Schedule make_schedule(Graph& graph, std::span<const OpenDevicePtr> devices,
                       std::span<const NodePlace> places, std::span<const std::uint32_t> input_home,
                       bool fuse, std::uint32_t math) {
  Schedule schedule;
  schedule.home.resize(graph.value_count());
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    schedule.home[graph.inputs[i]] = input_home[i];
  }
  // Views do not appear as items, but values behind them have a home all the same.
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    const Node& node = graph.node(id);
    if (node.removed) continue;
    for (const ValueId output : node.outputs) {
      if (output == kNoValue) continue;
      schedule.home[output] = node.op == "view" ? schedule.home[node.inputs[0]] : places[id].device;
    }
  }
  const auto same_domain = [&](std::uint32_t a, std::uint32_t b) {
    return a == b || devices[a]->domain() == devices[b]->domain();
  };
  const auto is_constant = [&](ValueId id) {
    while (graph.value(id).producer != kNoNode &&
           graph.node(graph.value(id).producer).op == "view") {
      id = graph.node(graph.value(id).producer).inputs[0];
    }
    return graph.value(id).constant != nullptr;
  };
  std::map<std::pair<ValueId, std::string_view>, ValueId> transferred;
  for (Item& item : group_nodes(graph, devices, places, fuse, math)) {
    for (const NodeId id : item.nodes) {
      for (std::size_t i = 0; i < graph.node(id).inputs.size(); ++i) {
        const ValueId input = graph.node(id).inputs[i];
        if (input == kNoValue || is_constant(input) ||
            same_domain(schedule.home[input], item.device)) {
          continue;
        }
        const auto [found, added] =
            transferred.try_emplace({input, devices[item.device]->domain()}, kNoValue);
        if (added) {
          const Value& value = graph.value(input);
          found->second = graph.add_value(value.name, value.dtype, value.shape);
          schedule.home.resize(graph.value_count());
          schedule.home[found->second] = item.device;
          Item transfer;
          transfer.kind = Item::Transfer;
          transfer.device = item.device;
          transfer.from = input;
          transfer.to = found->second;
          transfer.from_device = schedule.home[input];
          schedule.items.push_back(std::move(transfer));
        }
        graph.node(id).inputs[i] = found->second;
      }
    }
    schedule.items.push_back(std::move(item));
  }
  return schedule;
}

}  // namespace miniinfer
