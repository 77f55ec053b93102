// Channels-last convolutions. Nodes that can work on channels-last values and are connected by such
// values form a component. One is changed as a whole, on a copy of the graph, and stays so where
// the device runs all of it and the sum of its costs is less.

#include <algorithm>
#include <map>
#include <numeric>

#include "core/plan/layout.hpp"
#include "core/plan/permute.hpp"
#include "miniinfer/abi/op/conv.h"

namespace miniinfer {
namespace {

bool is_conv(const Node& node) {
  return node.op == MINIINFER_CONV || node.op == MINIINFER_CONV_TRANSPOSE;
}

// From [n, c, spatial..] to [n, spatial.., c].
Order to_channels_last(std::size_t rank) {
  Order order = {0};
  for (std::size_t axis = 2; axis < rank; ++axis) order.push_back(static_cast<std::uint8_t>(axis));
  order.push_back(1);
  return order;
}

// What is changed in a node: all of its operands, or those that a convolution has channels in.
std::vector<ValueId> changed_inputs(const Node& node) {
  return is_conv(node) ? std::vector<ValueId>{node.inputs[0]} : node.inputs;
}

// Changes the nodes of one component, on one device, and adds what its border needs.
class Change {
 public:
  Change(PlacedGraph placed, const std::vector<NodeId>& members, std::size_t rank)
      : placed_(placed),
        graph_(placed.graph),
        members_(members),
        order_(to_channels_last(rank)),
        device_(placed.places[members.front()].device),
        first_added_(static_cast<NodeId>(placed.graph.node_count())) {}

  // False where a node knows no such change.
  bool run() {
    std::map<ValueId, Origin> given;  // by members, row-major until now
    for (const NodeId id : members_) {
      KernelAttrsPtr attrs = graph_.node(id).kernel;
      if (!is_conv(graph_.node(id))) attrs = permuted_attrs(graph_, graph_.node(id), order_);
      if (attrs == nullptr) return false;
      for (const ValueId output : graph_.node(id).outputs) {
        if (output != kNoValue) given[output] = graph_.node(id).origin;
      }
      new_attrs_.push_back(std::move(attrs));
    }
    for (const auto& [id, origin] : given) {
      const Value& value = graph_.value(id);
      const ValueId changed =
          graph_.add_value(value.name, value.dtype, permuted(*value.shape, order_));
      graph_.value(changed).producer = graph_.value(id).producer;
      graph_.value(id).producer = kNoNode;
      changed_[id] = changed;
    }
    for (std::size_t i = 0; i < members_.size(); ++i) change_node(members_[i], new_attrs_[i]);
    const std::vector<std::vector<NodeId>> uses = graph_.uses();
    for (const auto& [id, origin] : given) {
      if (uses[id].empty() && !graph_.is_output(id)) continue;
      Transposition back = transpose(graph_, changed_.at(id), inverse(order_), origin);
      back.node.outputs = {id};
      placed_.add(std::move(back.node), device_);
    }
    return true;
  }

  NodeId first_added() const { return first_added_; }

 private:
  void change_node(NodeId id, const KernelAttrsPtr& attrs) {
    const Origin origin = graph_.node(id).origin;
    const bool conv = is_conv(graph_.node(id));
    const std::vector<ValueId> wanted = changed_inputs(graph_.node(id));
    std::vector<ValueId> inputs = graph_.node(id).inputs;
    for (std::size_t i = 0; i < wanted.size(); ++i) inputs[i] = changed_input(wanted[i], origin);
    Node& node = graph_.node(id);
    node.inputs = std::move(inputs);
    node.kernel = attrs;
    for (ValueId& output : node.outputs) {
      if (output != kNoValue) output = changed_.at(output);
    }
    if (!conv) return;
    node.input_orders.assign(node.inputs.size(), {});
    node.input_orders[0] = inverse(order_);
    node.output_orders = {inverse(order_)};
  }

  ValueId changed_input(ValueId id, const Origin& origin) {
    if (id == kNoValue) return kNoValue;
    if (const auto found = changed_.find(id); found != changed_.end()) return found->second;
    if (graph_.value(id).constant) {
      return changed_[id] = graph_.add_constant(permuted(graph_.value(id).constant, order_),
                                                graph_.value(id).name);
    }
    Transposition made = transpose(graph_, id, order_, origin);
    placed_.add(std::move(made.node), device_);
    return changed_[id] = made.to;
  }

  PlacedGraph placed_;
  Graph& graph_;
  const std::vector<NodeId>& members_;
  Order order_;
  std::uint32_t device_;
  NodeId first_added_;
  std::vector<KernelAttrsPtr> new_attrs_;
  std::map<ValueId, ValueId> changed_;
};

class ChannelsLast {
 public:
  explicit ChannelsLast(PlacedGraph& placed) : placed_(placed) {}

  void run() {
    for (std::size_t rank = 3; rank <= 2 + MINIINFER_MAX_SPATIAL; ++rank) {
      bool again = true;
      while (again) {
        again = false;
        for (const std::vector<NodeId>& members : find_components(rank)) {
          again = !decide(members, rank) || again;
        }
      }
    }
  }

 private:
  bool is_candidate(NodeId id, std::size_t rank) const {
    const Graph& graph = placed_.graph;
    const Node& node = graph.node(id);
    if (node.removed || settled(id)) return false;
    if (!is_conv(node)) return permuted_attrs(graph, node, to_channels_last(rank)) != nullptr;
    return node.outputs.size() == 1 && graph.value(node.inputs[0]).shape->size() == rank &&
           !graph.value(node.inputs[0]).constant && node.input_orders.empty();
  }

  bool settled(NodeId id) const { return id < settled_.size() && settled_[id]; }
  void settle(NodeId id) {
    settled_.resize(std::max<std::size_t>(settled_.size(), id + 1));
    settled_[id] = true;
  }

  // Candidates on one device that share values, where there is a convolution among them.
  std::vector<std::vector<NodeId>> find_components(std::size_t rank) const {
    const Graph& graph = placed_.graph;
    const auto is_wanted = [&](const Node& node) {
      return !node.removed && is_conv(node) && graph.value(node.inputs[0]).shape->size() == rank;
    };
    if (std::none_of(graph.nodes().begin(), graph.nodes().end(), is_wanted)) return {};
    std::vector<NodeId> leader(graph.node_count());
    std::iota(leader.begin(), leader.end(), NodeId{0});
    const auto find = [&](NodeId id) {
      while (leader[id] != id) id = leader[id] = leader[leader[id]];
      return id;
    };
    std::vector<bool> candidate(graph.node_count());
    for (NodeId id = 0; id < graph.node_count(); ++id) candidate[id] = is_candidate(id, rank);
    std::map<ValueId, NodeId> touched;  // by value: one node of its component
    for (NodeId id = 0; id < graph.node_count(); ++id) {
      if (!candidate[id]) continue;
      std::vector<ValueId> values = changed_inputs(graph.node(id));
      values.insert(values.end(), graph.node(id).outputs.begin(), graph.node(id).outputs.end());
      for (const ValueId value : values) {
        if (value == kNoValue || graph.value(value).constant) continue;
        const auto [found, added] = touched.try_emplace(value, id);
        const NodeId other = find(found->second);
        if (placed_.places[other].device == placed_.places[id].device) leader[find(id)] = other;
      }
    }
    std::map<NodeId, std::vector<NodeId>> components;
    std::map<NodeId, bool> has_conv;
    for (NodeId id = 0; id < graph.node_count(); ++id) {
      if (!candidate[id]) continue;
      components[find(id)].push_back(id);
      has_conv[find(id)] = has_conv[find(id)] || is_conv(graph.node(id));
    }
    std::vector<std::vector<NodeId>> result;
    for (auto& [id, members] : components) {
      if (has_conv[id]) result.push_back(std::move(members));
    }
    return result;
  }

  // Changes the component or leaves it as it is for good. False where nodes turned out to be no
  // part of it, and the components are others.
  bool decide(const std::vector<NodeId>& members, std::size_t rank) {
    Graph changed = placed_.graph;
    std::vector<NodePlace> places = placed_.places;
    PlacedGraph attempt{changed, placed_.devices, places, placed_.math};
    Change change(attempt, members, rank);
    if (!change.run()) return true;
    Saving saving;
    std::vector<NodeId> refused;
    bool has_preference = false;
    // Convolutions first: where none is wanted so, nothing else need be asked.
    for (const bool convs : {true, false}) {
      for (const NodeId id : members) {
        if (is_conv(changed.node(id)) != convs) continue;
        const auto before = placed_.cost(id), after = attempt.cost(id);
        if (!before || !after) {
          refused.push_back(id);
          continue;
        }
        saving.add(*before, *after);
        has_preference = has_preference || (convs && *before > *after && *after > 0);
      }
      if (!refused.empty() || !has_preference) break;
    }
    for (const NodeId id : refused) settle(id);
    if (!refused.empty()) return false;
    if (has_preference) {
      join_transpositions(attempt);
      count_border(attempt, change.first_added(), saving);
    }
    for (const NodeId id : members) settle(id);
    if (!has_preference || saving.ns() <= 0) return true;
    for (NodeId id = change.first_added(); id < changed.node_count(); ++id) settle(id);
    placed_.graph = std::move(changed);
    placed_.places = std::move(places);
    return true;
  }

  // What copies there are more, and less where one was undone by another.
  void count_border(const PlacedGraph& attempt, NodeId first_added, Saving& saving) const {
    constexpr std::uint64_t kRefused = std::uint64_t{1} << 50;
    for (NodeId id = 0; id < attempt.graph.node_count(); ++id) {
      const bool removed = attempt.graph.node(id).removed;
      if (id >= first_added && !removed) saving.added(attempt.cost(id).value_or(kRefused));
      if (id < first_added && removed && !placed_.graph.node(id).removed) {
        saving.gone(placed_.cost(id).value_or(0));
      }
    }
  }

  PlacedGraph& placed_;
  std::vector<bool> settled_;  // by node: changed, or never to be
};

}  // namespace

void choose_channels_last(PlacedGraph& placed) { ChannelsLast(placed).run(); }

}  // namespace miniinfer
