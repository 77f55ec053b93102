#include "core/base/format.hpp"
#include "core/graph/graph.hpp"

namespace miniinfer {
namespace {

Status broken(const Graph& graph, NodeId id, const char* what) {
  return {Code::Internal, format("the graph is broken: node %u (%s) %s", id,
                                 printable(graph.node(id).op).c_str(), what)};
}

// Whether each operand has no order, or one that names each axis of its value once.
bool orders_fit(const Graph& graph, const std::vector<ValueId>& values,
                const std::vector<Order>& orders) {
  if (orders.empty()) return true;
  if (orders.size() != values.size()) return false;
  for (std::size_t i = 0; i < orders.size(); ++i) {
    if (orders[i].empty()) continue;
    if (values[i] == kNoValue || !graph.value(values[i]).shape) return false;
    std::vector<bool> named(graph.value(values[i]).shape->size());
    if (orders[i].size() != named.size()) return false;
    for (const std::uint8_t axis : orders[i]) {
      if (axis >= named.size() || named[axis]) return false;
      named[axis] = true;
    }
  }
  return true;
}

}  // namespace

Status verify(const Graph& graph) {
  const auto count = static_cast<ValueId>(graph.value_count());
  std::vector<bool> available(count);
  std::vector<bool> has_origin(count);
  for (const ValueId input : graph.inputs) {
    if (input >= count) return {Code::Internal, "the graph is broken: an input without a value"};
    available[input] = true;
  }
  for (ValueId id = 0; id < count; ++id) {
    if (graph.value(id).constant) available[id] = true;
  }
  has_origin = available;
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    const Node& node = graph.node(id);
    if (node.removed) continue;
    for (const ValueId input : node.inputs) {
      if (input == kNoValue) continue;
      if (input >= count) return broken(graph, id, "reads a value that does not exist");
      if (!available[input]) return broken(graph, id, "reads a value before it is there");
    }
    for (const ValueId output : node.outputs) {
      if (output == kNoValue) continue;
      if (output >= count) return broken(graph, id, "gives a value that does not exist");
      if (has_origin[output]) return broken(graph, id, "gives a value that has an origin already");
      if (graph.value(output).producer != id) {
        return broken(graph, id, "is not what its output names as its producer");
      }
      has_origin[output] = available[output] = true;
    }
    if (!orders_fit(graph, node.inputs, node.input_orders) ||
        !orders_fit(graph, node.outputs, node.output_orders)) {
      return broken(graph, id, "sees an operand through an order that does not fit it");
    }
  }
  for (const ValueId output : graph.outputs) {
    if (output >= count || !available[output]) {
      return {Code::Internal, "the graph is broken: an output without an origin"};
    }
  }
  return {};
}

}  // namespace miniinfer
