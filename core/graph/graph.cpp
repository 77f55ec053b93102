#include "core/graph/graph.hpp"

#include <algorithm>
#include <queue>

#include "core/base/format.hpp"

namespace miniinfer {

ValueId Graph::add_value(std::string name, DataType dtype, std::optional<Shape> shape) {
  Value value;
  value.name = std::move(name);
  value.dtype = dtype;
  value.shape = std::move(shape);
  values_.push_back(std::move(value));
  return static_cast<ValueId>(values_.size() - 1);
}

ValueId Graph::add_constant(ConstantPtr constant, std::string name) {
  const ValueId id = add_value(std::move(name), constant->type.dtype, constant->type.shape);
  values_[id].constant = std::move(constant);
  return id;
}

NodeId Graph::add_node(Node node) {
  const auto id = static_cast<NodeId>(nodes_.size());
  for (const ValueId output : node.outputs) {
    if (output != kNoValue) values_[output].producer = id;
  }
  nodes_.push_back(std::move(node));
  return id;
}

void Graph::remove_node(NodeId id) {
  Node& node = nodes_[id];
  node.removed = true;
  for (const ValueId output : node.outputs) {
    if (output != kNoValue && values_[output].producer == id) values_[output].producer = kNoNode;
  }
}

void Graph::replace_uses(ValueId from, ValueId to) {
  for (Node& node : nodes_) {
    if (!node.removed) std::replace(node.inputs.begin(), node.inputs.end(), from, to);
  }
  std::replace(outputs.begin(), outputs.end(), from, to);
}

namespace {

// A node of a circle: from a node that waits, always on to one that it waits for.
NodeId on_circle(const Graph& graph, const std::vector<bool>& done, NodeId start) {
  std::vector<bool> seen(graph.node_count());
  NodeId id = start;
  while (!seen[id]) {
    seen[id] = true;
    for (const ValueId input : graph.node(id).inputs) {
      const NodeId producer = input == kNoValue ? kNoNode : graph.value(input).producer;
      if (producer == kNoNode || done[producer]) continue;
      id = producer;
      break;
    }
  }
  return id;
}

}  // namespace

// Kahn's method. Among nodes that can run, the one that stands first in the present order goes
// first, so a graph in order stays as it is.
Status Graph::sort() {
  std::vector<std::uint32_t> waiting(nodes_.size());
  std::vector<std::vector<NodeId>> readers(values_.size());
  std::priority_queue<NodeId, std::vector<NodeId>, std::greater<>> ready;
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    if (nodes_[id].removed) continue;
    for (const ValueId input : nodes_[id].inputs) {
      if (input == kNoValue || values_[input].producer == kNoNode) continue;
      ++waiting[id];
      readers[input].push_back(id);
    }
    if (waiting[id] == 0) ready.push(id);
  }
  std::vector<NodeId> order;
  order.reserve(nodes_.size());
  std::vector<bool> done(nodes_.size());
  while (!ready.empty()) {
    const NodeId id = ready.top();
    ready.pop();
    done[id] = true;
    order.push_back(id);
    for (const ValueId output : nodes_[id].outputs) {
      if (output == kNoValue) continue;
      for (const NodeId reader : readers[output]) {
        if (--waiting[reader] == 0) ready.push(reader);
      }
    }
  }
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    if (nodes_[id].removed || done[id]) continue;
    return {Code::InvalidArgument, "node " + describe(*this, on_circle(*this, done, id), "").name +
                                       " reads, in a circle, what it gives"};
  }
  std::vector<Node> sorted;
  sorted.reserve(order.size());
  for (const NodeId id : order) {
    for (const ValueId output : nodes_[id].outputs) {
      if (output != kNoValue) values_[output].producer = static_cast<NodeId>(sorted.size());
    }
    sorted.push_back(std::move(nodes_[id]));
  }
  nodes_ = std::move(sorted);
  return {};
}

void Graph::compact() {
  // What the outputs need, from the last node back: nodes are in order.
  std::vector<bool> needed(values_.size());
  for (const ValueId output : outputs) needed[output] = true;
  std::vector<bool> keep(nodes_.size());
  for (NodeId id = static_cast<NodeId>(nodes_.size()); id-- > 0;) {
    const Node& node = nodes_[id];
    if (node.removed) continue;
    keep[id] = std::any_of(node.outputs.begin(), node.outputs.end(),
                           [&](ValueId output) { return output != kNoValue && needed[output]; });
    if (!keep[id]) continue;
    for (const ValueId input : node.inputs) {
      if (input != kNoValue) needed[input] = true;
    }
    for (const ValueId output : node.outputs) {
      if (output != kNoValue) needed[output] = true;
    }
  }
  for (const ValueId input : inputs) needed[input] = true;

  std::vector<ValueId> renamed(values_.size(), kNoValue);
  std::vector<Value> values;
  for (ValueId id = 0; id < values_.size(); ++id) {
    if (!needed[id]) continue;
    renamed[id] = static_cast<ValueId>(values.size());
    values.push_back(std::move(values_[id]));
    values.back().producer = kNoNode;
  }
  const auto rename = [&](std::vector<ValueId>& ids) {
    for (ValueId& id : ids) {
      if (id != kNoValue) id = renamed[id];
    }
  };
  std::vector<Node> nodes;
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    if (!keep[id]) continue;
    rename(nodes_[id].inputs);
    rename(nodes_[id].outputs);
    for (const ValueId output : nodes_[id].outputs) {
      if (output != kNoValue) values[output].producer = static_cast<NodeId>(nodes.size());
    }
    nodes.push_back(std::move(nodes_[id]));
  }
  rename(inputs);
  rename(outputs);
  values_ = std::move(values);
  nodes_ = std::move(nodes);
}

std::vector<std::vector<NodeId>> Graph::uses() const {
  std::vector<std::vector<NodeId>> uses(values_.size());
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    if (nodes_[id].removed) continue;
    for (const ValueId input : nodes_[id].inputs) {
      if (input != kNoValue) uses[input].push_back(id);
    }
  }
  return uses;
}

bool Graph::is_output(ValueId id) const {
  return std::find(outputs.begin(), outputs.end(), id) != outputs.end();
}

}  // namespace miniinfer
