// Copies that only permute axes: joined where one follows another, and absorbed by the nodes around
// them where those take permuted operands.

#include <algorithm>

#include "core/plan/layout.hpp"
#include "core/plan/permute.hpp"
#include "miniinfer/abi/op/copy.h"
#include "miniinfer/abi/op/pointwise.h"

namespace miniinfer {
namespace {

// A pointwise node works as well on permuted values (layout_channels_last.cpp), and a copy has
// strides of its own; both take any order and say nothing of what it costs them.
bool may_be_asked(const Node& node) {
  return node.op != "view" && node.op != MINIINFER_POINTWISE && node.op != MINIINFER_COPY;
}

void see_through(std::vector<Order>& orders, std::size_t operands, std::size_t i,
                 const Order& order) {
  orders.resize(operands);
  orders[i] = orders[i].empty() ? order : compose(order, orders[i]);
}

// Nodes as they are, to be put back where a change does not pay.
class Attempt {
 public:
  explicit Attempt(PlacedGraph& placed) : placed_(placed) {}

  // Before the node is changed. False where the device refuses it as it is.
  bool begin(NodeId id) {
    const auto cost = placed_.cost(id);
    if (!cost) return false;
    changed_.push_back({id, placed_.graph.node(id), *cost});
    return true;
  }
  // What the changed nodes cost less, if the device runs them all.
  bool saves(std::uint64_t cost_of_copy) const {
    Saving saving;
    saving.gone(cost_of_copy);
    for (const Change& change : changed_) {
      const auto cost = placed_.cost(change.id);
      if (!cost) return false;
      saving.add(change.cost, *cost);
    }
    return saving.ns() > 0 || cost_of_copy == 0;
  }
  void undo() {
    for (Change& change : changed_) placed_.graph.node(change.id) = std::move(change.node);
  }

 private:
  struct Change {
    NodeId id;
    Node node;
    std::uint64_t cost;
  };
  PlacedGraph& placed_;
  std::vector<Change> changed_;
};

// The copy `id` goes if all who read what it gives see its input through `order`.
bool absorb_into_readers(PlacedGraph& placed, NodeId id, const Order& order,
                         std::uint64_t cost_of_copy, const std::vector<std::vector<NodeId>>& uses) {
  Graph& graph = placed.graph;
  const ValueId from = graph.node(id).inputs[0], to = graph.node(id).outputs[0];
  if (graph.is_output(to) || uses[to].empty()) return false;
  Attempt attempt(placed);
  std::vector<NodeId> readers = uses[to];
  readers.erase(std::unique(readers.begin(), readers.end()), readers.end());
  for (const NodeId reader : readers) {
    if (!may_be_asked(graph.node(reader)) ||
        placed.places[reader].device != placed.places[id].device) {
      return false;
    }
  }
  bool yes = true;
  for (const NodeId reader : readers) {
    yes = yes && attempt.begin(reader);
    Node& node = graph.node(reader);
    for (std::size_t i = 0; yes && i < node.inputs.size(); ++i) {
      if (node.inputs[i] != to) continue;
      see_through(node.input_orders, node.inputs.size(), i, order);
      node.inputs[i] = from;
    }
  }
  if (yes && attempt.saves(cost_of_copy)) {
    adopt(graph.node(readers.front()), graph.node(id).origin);
    graph.remove_node(id);
    return true;
  }
  attempt.undo();
  return false;
}

// The copy `id` goes if the node that gives its input writes what the copy gives.
bool absorb_into_writer(PlacedGraph& placed, NodeId id, const Order& order,
                        std::uint64_t cost_of_copy, const std::vector<std::vector<NodeId>>& uses) {
  Graph& graph = placed.graph;
  const ValueId from = graph.node(id).inputs[0], to = graph.node(id).outputs[0];
  const NodeId writer = graph.value(from).producer;
  if (writer == kNoNode || uses[from].size() != 1 || graph.is_output(from) ||
      !may_be_asked(graph.node(writer)) ||
      placed.places[writer].device != placed.places[id].device) {
    return false;
  }
  Attempt attempt(placed);
  if (!attempt.begin(writer)) return false;
  Node& node = graph.node(writer);
  const auto i = static_cast<std::size_t>(
      std::find(node.outputs.begin(), node.outputs.end(), from) - node.outputs.begin());
  see_through(node.output_orders, node.outputs.size(), i, inverse(order));
  node.outputs[i] = to;
  if (attempt.saves(cost_of_copy)) {
    adopt(graph.node(writer), graph.node(id).origin);
    graph.remove_node(id);
    graph.value(to).producer = writer;
    graph.value(from).producer = kNoNode;
    return true;
  }
  attempt.undo();
  return false;
}

}  // namespace

void join_transpositions(PlacedGraph& placed) {
  Graph& graph = placed.graph;
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    const auto second = find_transposition(graph, graph.node(id));
    if (!second) continue;
    const ValueId between = graph.node(id).inputs[0];
    const NodeId before = graph.value(between).producer;
    if (before == kNoNode || placed.places[before].device != placed.places[id].device) continue;
    const auto first = find_transposition(graph, graph.node(before));
    if (!first) continue;
    const ValueId from = graph.node(before).inputs[0];
    const Order both = compose(*first, *second);
    Transposition joined = transpose(graph, from, both, graph.node(id).origin);
    const ValueId to = graph.node(id).outputs[0];
    Node& node = graph.node(id);
    node.op = joined.node.op;
    node.kernel = joined.node.kernel;
    node.inputs = {from};
    adopt(node, graph.node(before).origin);
    if (node.op == "view" && graph.value(from).shape == graph.value(to).shape) {
      const std::vector<NodeId> readers = graph.uses()[to];
      const NodeId producer = graph.value(from).producer;
      const NodeId near = producer != kNoNode ? producer : readers.empty() ? id : readers.front();
      adopt(graph.node(near), Origin(node.origin));
      graph.remove_node(id);
      graph.replace_uses(to, from);
    }
  }
  placed.drop_unread();
}

void absorb_transpositions(PlacedGraph& placed) {
  Graph& graph = placed.graph;
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    const auto order = find_transposition(graph, graph.node(id));
    if (!order) continue;
    const auto cost = placed.cost(id);
    const std::vector<std::vector<NodeId>> uses = graph.uses();
    if (!cost || absorb_into_readers(placed, id, *order, *cost, uses)) continue;
    absorb_into_writer(placed, id, *order, *cost, uses);
  }
}

}  // namespace miniinfer
