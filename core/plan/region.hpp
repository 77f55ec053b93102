#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "core/graph/graph.hpp"
#include "miniinfer/abi/op.h"

namespace miniinfer {

// Nodes of a lowered graph in the form the boundary speaks, and what it points to.
//
// Inputs are the values the nodes read and none of them writes, in order of first use; outputs are
// those in `wanted`. Strides are row-major, in the order the node sees the operand's axes, and 0
// along axes of size 1. What follows a node that writes through an order sees its operands through
// the same one: a pointwise node does not care which axis comes first.
class Region {
 public:
  Region(const Graph& graph, std::span<const NodeId> nodes, std::span<const ValueId> wanted,
         std::uint32_t math);
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  const miniinfer_region& abi() const { return region_; }
  const std::vector<ValueId>& inputs() const { return inputs_; }    // graph values, region.in order
  const std::vector<ValueId>& outputs() const { return outputs_; }  // region.out order

 private:
  std::uint32_t index_of(const Graph& graph, ValueId id, const Order& order);

  std::deque<miniinfer_value> values_;
  std::deque<std::vector<std::int64_t>> sizes_;  // dims, then strides, of each value
  std::deque<miniinfer_node> nodes_;
  std::deque<std::vector<std::uint32_t>> operands_;
  std::vector<std::pair<ValueId, Order>> seen_;  // by index
  std::vector<const miniinfer_value*> value_pointers_;
  std::vector<const miniinfer_node*> node_pointers_;
  std::vector<std::uint32_t> in_, out_;
  std::vector<ValueId> inputs_, outputs_;
  miniinfer_region region_{};
};

}  // namespace miniinfer
