#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/device/backend_registry.hpp"
#include "core/graph/graph.hpp"

namespace miniinfer {

// Which device of the list runs a node of a lowered graph.
struct NodePlace {
  std::uint32_t device = 0;
  std::string reason;  // why not an earlier device; empty: its first choice
};

// Gives each node to the first device that runs it. A node that a device refuses is decomposed into
// simpler ones where a decomposition is known, which changes the graph. UNSUPPORTED lists every
// node of the model that no device of the list runs. Views take the place of what they look at.
// `math` is miniinfer_node.math of every node.
Result<std::vector<NodePlace>> place_nodes(Graph& graph, std::span<const OpenDevicePtr> devices,
                                           std::uint32_t math = 0);

}  // namespace miniinfer
