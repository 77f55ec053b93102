#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/graph/attributes.hpp"
#include "core/graph/constant.hpp"
#include "miniinfer/data_type.hpp"
#include "miniinfer/status.hpp"

namespace miniinfer {

using ValueId = std::uint32_t;
using NodeId = std::uint32_t;
inline constexpr ValueId kNoValue = std::numeric_limits<ValueId>::max();  // an input left out
inline constexpr NodeId kNoNode = std::numeric_limits<NodeId>::max();

// What flows along an edge. A value has one origin: a graph input, a constant, or one output of one
// node (single assignment).
struct Value {
  std::string name;
  DataType dtype = DataType::Undefined;  // Undefined: not known yet
  std::optional<Shape> shape;            // absent: rank not known; -1: size not known
  std::vector<std::string> dim_names;    // of graph inputs and outputs; may be empty
  ConstantPtr constant;                  // set: a constant
  NodeId producer = kNoNode;
};

// Attributes of a kernel operator (abi/op/*.h) with everything they point to. Immutable.
class KernelAttrs {
 public:
  virtual ~KernelAttrs() = default;
  virtual const void* abi() const noexcept = 0;  // begins with a miniinfer_head
};
using KernelAttrsPtr = std::shared_ptr<const KernelAttrs>;

// Which nodes of the user's file a node came from, for reports. The first is the one named when
// there is room for one.
struct Origin {
  std::vector<NodeId> sources;  // indices into Graph::source_nodes()
};

struct SourceNode {
  std::string name;  // as in the file; "Conv_12" where it has none
  std::string op;    // "Conv"
};

// How a node sees an operand: its axis i is the value's axis order[i]. Empty: as the value is.
using Order = std::vector<std::uint8_t>;

// A node. Before lowering `op` is a canonical ONNX operator ("Conv"; "com.microsoft.Gelu" outside
// the default domain) with `attributes`; after it, a kernel operator ("conv/1") with `kernel`, or
// "view", which gives its input's bytes another shape or type without moving anything. Values are
// row-major always; a node that reads or writes one through an order meets strides.
struct Node {
  std::string op;
  Attributes attributes;
  KernelAttrsPtr kernel;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;      // kNoValue: not wanted
  std::vector<Order> input_orders;   // empty, or one for each input
  std::vector<Order> output_orders;  // empty, or one for each output
  Origin origin;
  bool removed = false;
};

// A model, or the body of a control-flow operator. Nodes are kept in an order that can be run. Ids
// are indices and stay valid until compact().
class Graph {
 public:
  std::string name;

  // Inputs in order; constants that a caller may override (IR 3) are not constants here.
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;

  ValueId add_value(std::string name, DataType dtype = DataType::Undefined,
                    std::optional<Shape> shape = std::nullopt);
  ValueId add_constant(ConstantPtr constant, std::string name = {});
  // Appends; sets the outputs' producer.
  NodeId add_node(Node node);
  // Appends to the order what `make` adds, then moves it before `position`. (Passes that insert.)
  void remove_node(NodeId id);
  // Every use of `from`, as a node's input or a graph output, becomes `to`.
  void replace_uses(ValueId from, ValueId to);
  // Sorts nodes into an order that can be run; INVALID_ARGUMENT naming a node of a cycle.
  Status sort();
  // Drops removed nodes, nodes without effect and values without use. Renumbers everything.
  void compact();

  Value& value(ValueId id) { return values_[id]; }
  const Value& value(ValueId id) const { return values_[id]; }
  std::size_t value_count() const { return values_.size(); }
  Node& node(NodeId id) { return nodes_[id]; }
  const Node& node(NodeId id) const { return nodes_[id]; }
  std::size_t node_count() const { return nodes_.size(); }
  std::span<const Node> nodes() const { return nodes_; }

  // For each value, the nodes that read it, once for each reading; graph outputs are not in it.
  std::vector<std::vector<NodeId>> uses() const;
  bool is_output(ValueId id) const;

  // The user's nodes. Shared by all graphs made from one file.
  std::shared_ptr<std::vector<SourceNode>> sources = std::make_shared<std::vector<SourceNode>>();

 private:
  std::vector<Value> values_;
  std::vector<Node> nodes_;
};

// INTERNAL, naming the value or node, unless: ids are in range, each value has one origin, every
// node comes after what it reads, outputs have an origin, orders name each axis of their value
// once.
Status verify(const Graph& graph);

// One line a node: "%5 float32[1,8] = Relu(%4)  # relu_1".
std::string print(const Graph& graph);

// For reports: the node's name, operator and input types.
NodeReport describe(const Graph& graph, NodeId node, std::string reason);

}  // namespace miniinfer
