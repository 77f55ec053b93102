#include <cstring>
#include <optional>

#include "core/passes/pass.hpp"
#include "core/passes/program_editor.hpp"

namespace miniinfer {
namespace {

// The bits of a constant of one element, looking through views.
std::optional<std::uint64_t> scalar_bits(const Graph& graph, ValueId id) {
  while (graph.value(id).producer != kNoNode) {
    const Node& node = graph.node(graph.value(id).producer);
    if (node.op != "view") return {};
    id = node.inputs[0];
  }
  const ConstantPtr& constant = graph.value(id).constant;
  if (!constant) return {};
  const std::uint32_t width = bits(constant->type.dtype);
  if (width % 8 != 0 || width > 64 || constant->bytes.size() != width / 8) return {};
  std::uint64_t value = 0;
  std::memcpy(&value, constant->bytes.data(), constant->bytes.size());
  return value;
}

}  // namespace

Result<int> inline_constants(Graph& graph, PassContext&) {
  int changed = 0;
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    Node& node = graph.node(id);
    if (node.removed || node.op != MINIINFER_POINTWISE) continue;
    const auto& program = static_cast<const PointwiseProgram&>(*node.kernel);
    std::vector<std::optional<std::uint64_t>> scalars;
    std::vector<ValueId> kept;
    for (const ValueId input : node.inputs) {
      scalars.push_back(scalar_bits(graph, input));
      if (!scalars.back()) kept.push_back(input);
    }
    // A program without inputs would have nothing to take its shape from.
    if (kept.size() == node.inputs.size() || kept.empty()) continue;

    PointwiseBuilder builder(static_cast<std::uint32_t>(kept.size()));
    std::vector<PointwiseBuilder::Reg> inputs;
    std::uint32_t next = 0;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      inputs.push_back(scalars[i]
                           ? builder.constant_bits(graph.value(node.inputs[i]).dtype, *scalars[i])
                           : builder.input(next++));
    }
    node.kernel = builder.finish(append_program(builder, program, inputs));
    node.inputs = std::move(kept);
    ++changed;
  }
  return changed;
}

}  // namespace miniinfer
