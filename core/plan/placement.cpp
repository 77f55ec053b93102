#include "core/plan/placement.hpp"

#include <algorithm>
#include <map>

#include "core/base/format.hpp"
#include "core/ops/decompose.hpp"
#include "core/plan/support.hpp"

namespace miniinfer {
namespace {

std::string list_devices(std::span<const OpenDevicePtr> devices) {
  std::string text;
  for (const OpenDevicePtr& device : devices) {
    text += (text.empty() ? "" : ", ") + std::string(device->device.id());
  }
  return text;
}

// What no device of the list runs, once for each node of the model, worded as the model's file
// does.
Status refuse(const Graph& graph, std::span<const OpenDevicePtr> devices,
              const std::vector<std::pair<NodeId, std::string>>& refused) {
  std::map<NodeId, NodeReport> reports;
  for (const auto& [id, reason] : refused) {
    NodeReport report = describe(graph, id, reason);
    const std::vector<NodeId>& sources = graph.node(id).origin.sources;
    const NodeId source = sources.empty() ? kNoNode : sources.front();
    if (source != kNoNode) {
      report.name = (*graph.sources)[source].name;
      report.op = (*graph.sources)[source].op;
    }
    reports.emplace(source, std::move(report));
  }
  std::vector<NodeReport> nodes;
  for (auto& [source, report] : reports) nodes.push_back(std::move(report));
  const std::string names = list_devices(devices);
  return {Code::Unsupported,
          format("%zu of %zu nodes cannot run on %s", nodes.size(), graph.sources->size(),
                 names.c_str()),
          devices.back()->device.id() == "cpu:0"
              ? ""
              : "allow a fallback: -d " + (devices.size() == 1 ? names : "..") + ",cpu",
          std::move(nodes)};
}

}  // namespace

Result<std::vector<NodePlace>> place_nodes(Graph& graph, std::span<const OpenDevicePtr> devices,
                                           std::uint32_t math) {
  std::vector<NodePlace> places(graph.node_count());
  std::vector<std::pair<NodeId, std::string>> refused;
  bool decomposed = false;
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    if (graph.node(id).removed || graph.node(id).op == "view") continue;
    NodePlace place;
    bool placed = false;
    std::string first_reason;
    const NodeId nodes[] = {id};
    const Region region(graph, nodes, graph.node(id).outputs, math);
    for (std::uint32_t d = 0; d < devices.size() && !placed; ++d) {
      const Support support = query_support(*devices[d], region);
      if (support.yes) {
        place.device = d;
        placed = true;
      } else if (d == 0) {
        first_reason = support.reason;
        if (decompose(graph, id)) {
          // Its parts were appended and are placed when the loop comes to them.
          decomposed = true;
          places.resize(graph.node_count());
          break;
        }
      }
    }
    if (graph.node(id).removed) continue;
    if (!placed) {
      refused.emplace_back(id, first_reason);
    } else {
      if (place.device > 0) place.reason = first_reason;
      places[id] = std::move(place);
    }
  }
  if (!refused.empty()) return refuse(graph, devices, refused);
  if (decomposed) {
    if (Status status = graph.sort(); !status.ok()) return status;
    return place_nodes(graph, devices, math);
  }
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    const Node& node = graph.node(id);
    if (node.removed || node.op != "view") continue;
    const NodeId producer = graph.value(node.inputs[0]).producer;
    if (producer != kNoNode) places[id].device = places[producer].device;
  }
  return places;
}

}  // namespace miniinfer
