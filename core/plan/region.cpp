#include "core/plan/region.hpp"

#include <algorithm>

#include "miniinfer/abi/op/pointwise.h"

namespace miniinfer {
namespace {

std::vector<std::int64_t> dims_and_strides(const Shape& shape, const Order& order) {
  const std::size_t rank = shape.size();
  std::vector<std::int64_t> strides(rank);
  std::int64_t stride = 1;
  for (std::size_t axis = rank; axis-- > 0;) {
    strides[axis] = shape[axis] == 1 ? 0 : stride;
    stride *= std::max<std::int64_t>(shape[axis], 1);
  }
  std::vector<std::int64_t> sizes(rank * 2);
  for (std::size_t axis = 0; axis < rank; ++axis) {
    const std::size_t from = order.empty() ? axis : order[axis];
    sizes[axis] = shape[from];
    sizes[rank + axis] = strides[from];
  }
  return sizes;
}

// How operand `i` of a node is seen. `leader` is the order in which the region's first node writes.
const Order& order_of(const Graph& graph, const Node& node, ValueId value,
                      const std::vector<Order>& orders, std::size_t i, const Order& leader) {
  static const Order kAsItIs;
  if (!orders.empty()) return orders[i];
  const bool follows = node.op == MINIINFER_POINTWISE && value != kNoValue &&
                       graph.value(value).shape->size() == leader.size();
  return follows ? leader : kAsItIs;
}

}  // namespace

std::uint32_t Region::index_of(const Graph& graph, ValueId id, const Order& order) {
  if (id != kNoValue) {
    const auto found = std::find(seen_.begin(), seen_.end(), std::pair(id, order));
    if (found != seen_.end()) return static_cast<std::uint32_t>(found - seen_.begin());
  }
  miniinfer_value abi{};
  abi.head = {sizeof abi, MINIINFER_ABI_MINOR};
  if (id == kNoValue) {
    abi.flags = MINIINFER_VALUE_ABSENT;
  } else {
    const Value& value = graph.value(id);
    abi.dtype = static_cast<miniinfer_dtype>(value.dtype);
    abi.rank = static_cast<std::int32_t>(value.shape->size());
    const std::vector<std::int64_t>& sizes =
        sizes_.emplace_back(dims_and_strides(*value.shape, order));
    abi.dims = sizes.data();
    abi.strides = sizes.data() + value.shape->size();
    if (value.constant) {
      abi.flags = MINIINFER_VALUE_CONSTANT;
      abi.host_value = value.constant->bytes.data();
      abi.host_bytes = value.constant->bytes.size();
    }
  }
  values_.push_back(abi);
  seen_.emplace_back(id, order);
  return static_cast<std::uint32_t>(values_.size() - 1);
}

Region::Region(const Graph& graph, std::span<const NodeId> nodes, std::span<const ValueId> wanted,
               std::uint32_t math) {
  std::vector<bool> written;
  const Node& first = graph.node(nodes.front());
  const Order leader = first.output_orders.empty() ? Order() : first.output_orders.front();
  for (const NodeId id : nodes) {
    const Node& node = graph.node(id);
    miniinfer_node abi{};
    abi.head = {sizeof abi, MINIINFER_ABI_MINOR};
    abi.op = node.op.c_str();
    abi.attrs = node.kernel->abi();
    abi.math = math;
    std::vector<std::uint32_t>& in = operands_.emplace_back();
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId input = node.inputs[i];
      const std::uint32_t index =
          index_of(graph, input, order_of(graph, node, input, node.input_orders, i, leader));
      in.push_back(index);
      written.resize(values_.size());
      if (!written[index] && std::find(in_.begin(), in_.end(), index) == in_.end()) {
        in_.push_back(index);
        inputs_.push_back(input);
      }
    }
    std::vector<std::uint32_t>& out = operands_.emplace_back();
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId output = node.outputs[i];
      const std::uint32_t index =
          index_of(graph, output, order_of(graph, node, output, node.output_orders, i, leader));
      out.push_back(index);
      written.resize(values_.size());
      written[index] = true;
      if (output != kNoValue && std::find(wanted.begin(), wanted.end(), output) != wanted.end()) {
        out_.push_back(index);
        outputs_.push_back(output);
      }
    }
    abi.in_count = static_cast<std::uint32_t>(in.size());
    abi.in = in.data();
    abi.out_count = static_cast<std::uint32_t>(out.size());
    abi.out = out.data();
    nodes_.push_back(abi);
  }
  for (const miniinfer_value& value : values_) value_pointers_.push_back(&value);
  for (const miniinfer_node& node : nodes_) node_pointers_.push_back(&node);
  region_.head = {sizeof region_, MINIINFER_ABI_MINOR};
  region_.value_count = static_cast<std::uint32_t>(values_.size());
  region_.node_count = static_cast<std::uint32_t>(nodes_.size());
  region_.in_count = static_cast<std::uint32_t>(in_.size());
  region_.out_count = static_cast<std::uint32_t>(out_.size());
  region_.values = value_pointers_.data();
  region_.nodes = node_pointers_.data();
  region_.in = in_.data();
  region_.out = out_.data();
}

}  // namespace miniinfer
