#pragma once

// Canonical operators: ONNX's, at the newest opset. Importing upgrades older definitions to these,
// so passes, lowering and backends see one version of each.
//
// A file of this folder holds a family of operators: for each its schema, how shapes follow, how an
// older definition is upgraded, and how it is lowered to the kernel operators of abi/op/.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/graph/graph.hpp"

namespace miniinfer {

// What a node is asked while shapes are inferred. Inputs may be of unknown type or shape; values of
// small constants can be read.
class InferContext {
 public:
  InferContext(Graph& graph, NodeId node) : graph_(graph), node_(node) {}

  const Node& node() const { return graph_.node(node_); }
  const Attributes& attributes() const { return node().attributes; }
  std::size_t input_count() const { return node().inputs.size(); }
  std::size_t output_count() const { return node().outputs.size(); }
  bool has_input(std::size_t i) const;                     // given and not left out
  bool has_output(std::size_t i) const;                    // wanted
  DataType dtype(std::size_t i) const;                     // Undefined where left out or unknown
  const std::optional<Shape>& shape(std::size_t i) const;  // absent where left out or unknown
  ConstantPtr constant(std::size_t i) const;               // null unless known
  std::optional<std::vector<std::int64_t>> ints(std::size_t i) const;  // of a constant input

  // A later call with less knowledge never takes back what is known already. INVALID_ARGUMENT where
  // it contradicts.
  // LIMIT_EXCEEDED where the bytes cannot be counted.
  Status set(std::size_t output, DataType dtype, std::optional<Shape> shape);
  // The output is known whatever the inputs' data will be: Shape of a concrete value. Sets its
  // type.
  Status set_constant(std::size_t output, ConstantPtr constant);

 private:
  Graph& graph_;
  NodeId node_;
};

// Builds the lowered graph. Every shape is concrete, every HOST operand is a constant. `in(i)` and
// friends speak of the source node being lowered; the emit functions add kernel nodes to the target
// graph and give back their output.
//
// The first failure sticks: after it everything still gives values of the types asked for, so that
// a lowering is written as if nothing failed. lower() looks at status() when the lowering is done.
class LowerContext {
 public:
  LowerContext(const Graph& source, NodeId node, Graph& target, std::span<ValueId> map)
      : source_(source), node_(node), target_(target), map_(map) {}

  const Node& node() const { return source_.node(node_); }
  const Attributes& attributes() const { return node().attributes; }
  std::size_t input_count() const { return node().inputs.size(); }
  bool has_input(std::size_t i) const;
  bool has_output(std::size_t i) const;
  ValueId in(std::size_t i) const;  // in the target graph
  const Shape& shape(std::size_t i) const;
  DataType dtype(std::size_t i) const;
  const Shape& out_shape(std::size_t i) const;
  DataType out_dtype(std::size_t i) const;
  ConstantPtr constant(std::size_t i) const;
  std::optional<std::vector<std::int64_t>> ints(std::size_t i) const;

  Shape shape_of(ValueId value) const;  // of a value of the target graph
  DataType dtype_of(ValueId value) const;

  // One kernel node.
  ValueId emit(std::string_view op, KernelAttrsPtr attrs, std::vector<ValueId> inputs,
               DataType dtype, Shape shape);
  std::vector<ValueId> emit_many(std::string_view op, KernelAttrsPtr attrs,
                                 std::vector<ValueId> inputs, std::vector<TensorType> outputs);
  // The same elements under another shape; free.
  ValueId view(ValueId value, Shape shape);
  // The same bytes as elements of another type; free.
  ValueId view_as(ValueId value, DataType dtype, Shape shape);
  ValueId constant_value(ConstantPtr constant);

  // Makes `value` the node's output. The type must be the one inferred.
  void set_output(std::size_t i, ValueId value);

  void fail(Status status);  // the first one is kept
  const Status& status() const { return status_; }

 private:
  const Value* input(std::size_t i) const;

  const Graph& source_;
  NodeId node_;
  Graph& target_;
  std::span<ValueId> map_;  // source value -> target value
  Status status_;
};

// What an upgrade is given: a node of an older opset, to be changed in place (attributes become
// inputs, and so on) into the newest definition. May add nodes and constants to the graph before
// it.
struct UpgradeContext {
  Graph& graph;
  Node& node;  // not yet in the graph
  std::int64_t opset;
};

struct AttributeSpec {
  std::string_view name;
  enum Type { Int, Float, String, Ints, Floats, Strings, Tensor } type;
  bool required = false;
};

struct Operator {
  std::string_view name;
  std::int64_t since = 1;                // the oldest opset whose definition `upgrade` understands
  int min_inputs = 0, max_inputs = 0;    // -1: any number
  int min_outputs = 1, max_outputs = 1;  // -1: any number
  std::vector<AttributeSpec> attributes = {};
  std::uint64_t host_inputs = 0;  // bit i: input i must be known to plan (Reshape's shape)
  bool data_dependent = false;    // output sizes depend on input data (NonZero)
  Status (*infer)(InferContext&) = nullptr;
  // Null: lowered by nobody; the operator must be folded or rewritten before.
  Status (*lower)(LowerContext&) = nullptr;
  Status (*upgrade)(UpgradeContext&) = nullptr;  // null: no older definition differs
};

// By canonical name, "Conv" or "com.microsoft.Gelu"; null for an unknown one.
const Operator* find_operator(std::string_view name);
std::span<const Operator* const> all_operators();

// Each family's table; registry.cpp lists them.
using OperatorTable = std::span<const Operator>;

// Checks counts and attributes against the schema. INVALID_ARGUMENT with the rule that failed.
Status check_schema(const Operator& op, const Node& node);

// Infers types and shapes of all nodes in order. Nodes that contradict are an error naming the
// node; nodes whose inputs are unknown leave their outputs unknown. [any-thread for distinct
// graphs]
Status infer_shapes(Graph& graph);
Status infer_node(Graph& graph, NodeId node);

// Lowers a graph whose shapes are all known. UNSUPPORTED lists every node that has no lowering or
// whose lowering refused.
Result<Graph> lower(const Graph& graph);

}  // namespace miniinfer
