#include "core/plan/layout.hpp"

#include <algorithm>
#include <map>

#include "core/plan/region.hpp"
#include "core/plan/support.hpp"
#include "miniinfer/abi/op/copy.h"

namespace miniinfer {

void adopt(Node& node, const Origin& gone) {
  std::vector<NodeId>& sources = node.origin.sources;
  for (const NodeId source : gone.sources) {
    if (std::find(sources.begin(), sources.end(), source) == sources.end()) {
      sources.push_back(source);
    }
  }
}

NodeId PlacedGraph::add(Node node, std::uint32_t device) {
  const NodeId id = graph.add_node(std::move(node));
  places.resize(graph.node_count());
  places[id].device = device;
  return id;
}

std::optional<std::uint64_t> PlacedGraph::cost(NodeId id) const {
  if (graph.node(id).op == "view") return 0;
  const NodeId nodes[] = {id};
  const Region region(graph, nodes, graph.node(id).outputs, math);
  const Support support = query_support(*devices[places[id].device], region);
  if (!support.yes) return std::nullopt;
  return support.choice.cost_ns;
}

void PlacedGraph::drop_unread() {
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    Node& node = graph.node(id);
    if (node.removed || node.op != "view") continue;
    for (NodeId before = graph.value(node.inputs[0]).producer;
         before != kNoNode && graph.node(before).op == "view";
         before = graph.value(node.inputs[0]).producer) {
      node.inputs[0] = graph.node(before).inputs[0];
      adopt(node, graph.node(before).origin);
    }
  }
  std::vector<std::size_t> readers(graph.value_count());
  const std::vector<std::vector<NodeId>> uses = graph.uses();
  for (ValueId id = 0; id < uses.size(); ++id) readers[id] = uses[id].size();
  for (const ValueId output : graph.outputs) ++readers[output];
  std::vector<NodeId> candidates;
  for (NodeId id = 0; id < graph.node_count(); ++id) candidates.push_back(id);
  while (!candidates.empty()) {
    const NodeId id = candidates.back();
    candidates.pop_back();
    const Node& node = graph.node(id);
    if (node.removed || (node.op != MINIINFER_COPY && node.op != "view") ||
        readers[node.outputs[0]] > 0) {
      continue;
    }
    for (const ValueId input : node.inputs) {
      const NodeId producer = graph.value(input).producer;
      if (--readers[input] == 0 && producer != kNoNode) candidates.push_back(producer);
    }
    graph.remove_node(id);
  }
}

// Sorting renumbers the nodes: their places are kept by what they give.
Status PlacedGraph::settle() {
  drop_unread();
  std::map<ValueId, NodePlace> by_output;
  const auto given = [&](const Node& node) {
    return *std::find_if(node.outputs.begin(), node.outputs.end(),
                         [](ValueId id) { return id != kNoValue; });
  };
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    if (!graph.node(id).removed) by_output[given(graph.node(id))] = std::move(places[id]);
  }
  if (Status status = graph.sort(); !status.ok()) return status;
  places.assign(graph.node_count(), {});
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    places[id] = std::move(by_output.at(given(graph.node(id))));
  }
  return verify(graph).with_context("after pass layout");
}

Status choose_layouts(Graph& graph, std::span<const OpenDevicePtr> devices,
                      std::vector<NodePlace>& places, std::uint32_t math) {
  PlacedGraph placed{graph, devices, places, math};
  choose_channels_last(placed);
  join_transpositions(placed);
  absorb_transpositions(placed);
  return placed.settle();
}

}  // namespace miniinfer
