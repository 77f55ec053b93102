#include <algorithm>

#include "core/ops/operator.hpp"
#include "core/passes/pass.hpp"

namespace miniinfer {
namespace {

bool all_constant(const Graph& graph, std::span<const ValueId> values) {
  return std::all_of(values.begin(), values.end(),
                     [&](ValueId id) { return id == kNoValue || graph.value(id).constant; });
}

// Bytes of the node's outputs; false where a size is not known.
bool output_bytes(const Graph& graph, const Node& node, std::uint64_t* total) {
  *total = 0;
  for (const ValueId id : node.outputs) {
    if (id == kNoValue) continue;
    const Value& value = graph.value(id);
    if (!value.shape || std::count(value.shape->begin(), value.shape->end(), -1) > 0) return false;
    Result<std::uint64_t> bytes = byte_count(value.dtype, *value.shape);
    if (!bytes) return false;
    *total += *bytes;
  }
  return true;
}

}  // namespace

// Shapes are inferred on the way, node by node: what a fold makes known (a Reshape's target)
// decides the shapes after it.
Result<int> fold(Graph& graph, PassContext& context) {
  int folded = 0;
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    if (graph.node(id).removed) continue;
    if (Status status = infer_node(graph, id); !status.ok()) return status;
    const Node& node = graph.node(id);
    const Operator* op = find_operator(node.op);
    bool known = !node.outputs.empty() && all_constant(graph, node.outputs);
    if (!known && op != nullptr && op->lower != nullptr && context.evaluate &&
        all_constant(graph, node.inputs)) {
      std::uint64_t bytes = 0;
      const bool sized = output_bytes(graph, node, &bytes);
      if (sized || op->data_dependent) {
        if (bytes > context.fold_value_bytes || bytes > context.fold_total_bytes) continue;
        Result<std::vector<ConstantPtr>> outputs = context.evaluate(graph, id);
        if (!outputs) {
          // What cannot be computed here may still be reported, or run, where it belongs.
          if (outputs.status().code() == Code::Unsupported) continue;
          return outputs.status();
        }
        context.fold_total_bytes -= bytes;
        for (std::size_t i = 0; i < node.outputs.size(); ++i) {
          if (node.outputs[i] == kNoValue) continue;
          Value& value = graph.value(node.outputs[i]);
          value.constant = (*outputs)[i];
          value.dtype = value.constant->type.dtype;
          value.shape = value.constant->type.shape;
        }
        known = true;
      }
    }
    if (known) {
      for (const ValueId output : node.outputs) {
        if (output != kNoValue) graph.value(output).producer = kNoNode;
      }
      graph.remove_node(id);
      ++folded;
    }
  }
  return folded;
}

}  // namespace miniinfer
