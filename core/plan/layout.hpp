#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/device/backend_registry.hpp"
#include "core/graph/graph.hpp"
#include "core/plan/placement.hpp"

namespace miniinfer {

// Chooses once, for a placed graph, in which order values lie in memory, so that no node converts
// its operands on its own.
//
// - Convolutions are given channels-last values ([n, spatial.., c], seen as [n, c, spatial..]), and
//   what stands between them works on such values too, where that saves more than the copies at the
//   border cost.
// - A copy that only permutes axes goes where all who read what it gives, or the one node that
// gives
//   what it reads, take it permuted and lose less by that than the copy costs.
//
// All costs are those devices give; one that gives none has no preference. `places` stays in step
// with the nodes. `math` is miniinfer_node.math of every node.
Status choose_layouts(Graph& graph, std::span<const OpenDevicePtr> devices,
                      std::vector<NodePlace>& places, std::uint32_t math = 0);

// A placed graph while its layouts are being chosen: nodes are added at the end, and nobody minds
// the order until settle() has put them into one.
struct PlacedGraph {
  Graph& graph;
  std::span<const OpenDevicePtr> devices;
  std::vector<NodePlace>& places;  // by node
  std::uint32_t math;

  NodeId add(Node node, std::uint32_t device);
  // What the device says a node costs; absent where it refuses it. 0: it does not say.
  std::optional<std::uint64_t> cost(NodeId id) const;
  // Copies and views that nobody reads go, and a view of a view looks at what that one looks at.
  void drop_unread();
  Status settle();
};

// What a node that goes did is done by `node` now, and reported there.
void adopt(Node& node, const Origin& gone);

// Whether the parts of one change, each of which costs `before` and then `after`, cost less
// together. A part with a cost that is not known counts as unchanged.
class Saving {
 public:
  void add(std::uint64_t before, std::uint64_t after) {
    if (before != 0 && after != 0) {
      saved_ += static_cast<std::int64_t>(before) - static_cast<std::int64_t>(after);
    }
  }
  void gone(std::uint64_t cost) { saved_ += static_cast<std::int64_t>(cost); }
  void added(std::uint64_t cost) { saved_ -= static_cast<std::int64_t>(cost); }
  std::int64_t ns() const { return saved_; }

 private:
  std::int64_t saved_ = 0;
};

// The steps, in turn.
void choose_channels_last(PlacedGraph& placed);
// Two transpositions, one after the other, become one or none.
void join_transpositions(PlacedGraph& placed);
void absorb_transpositions(PlacedGraph& placed);

}  // namespace miniinfer
