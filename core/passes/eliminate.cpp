#include <algorithm>
#include <string_view>

#include "core/passes/pass.hpp"

namespace miniinfer {
namespace {

bool wants_only_first_output(const Node& node) {
  return std::all_of(node.outputs.begin() + 1, node.outputs.end(),
                     [](ValueId id) { return id == kNoValue; });
}

bool keeps_order(const Node& node) {
  const auto perm = node.attributes.get_ints("perm");
  if (!perm) return false;
  for (std::size_t i = 0; i < perm->size(); ++i) {
    if ((*perm)[i] != static_cast<std::int64_t>(i)) return false;
  }
  return true;
}

bool casts_to_same_type(const Graph& graph, const Node& node) {
  const DataType from = graph.value(node.inputs[0]).dtype;
  return from != DataType::Undefined &&
         node.attributes.get_int("to", 0) == static_cast<std::int64_t>(from);
}

bool is_inference_dropout(const Graph& graph, const Node& node) {
  if (node.inputs.size() < 3 || node.inputs[2] == kNoValue) return true;
  const ConstantPtr& training = graph.value(node.inputs[2]).constant;
  return training && training->bytes.size() == 1 && training->bytes[0] == std::byte{0};
}

bool gives_its_input(const Graph& graph, const Node& node) {
  if (node.inputs.empty() || node.inputs[0] == kNoValue || node.outputs.empty() ||
      node.outputs[0] == kNoValue) {
    return false;
  }
  static constexpr std::string_view kVariadic[] = {"Concat", "Sum", "Max", "Min", "Mean"};
  if (node.op == "Identity") return true;
  if (node.op == "Dropout") {
    return wants_only_first_output(node) && is_inference_dropout(graph, node);
  }
  if (node.op == "Cast") return casts_to_same_type(graph, node);
  if (node.op == "Transpose") return keeps_order(node);
  return node.inputs.size() == 1 &&
         std::find(std::begin(kVariadic), std::end(kVariadic), node.op) != std::end(kVariadic);
}

}  // namespace

Result<int> eliminate(Graph& graph, PassContext&) {
  int eliminated = 0;
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    const Node& node = graph.node(id);
    if (node.removed || !gives_its_input(graph, node)) continue;
    graph.replace_uses(node.outputs[0], node.inputs[0]);
    graph.remove_node(id);
    ++eliminated;
  }
  return eliminated;
}

}  // namespace miniinfer
