#include <memory>

#include "core/ops/kernel_attrs.hpp"
#include "core/passes/pass.hpp"
#include "miniinfer/abi/op/copy.h"

namespace miniinfer {
namespace {

// Whether a copy gives its input's elements in their order: one region that walks both sides
// row-major from their beginnings.
bool moves_nothing(const Graph& graph, const Node& node) {
  if (node.op != MINIINFER_COPY || node.inputs.size() != 1) return false;
  const auto& copy = static_cast<const CopyRegions&>(*node.kernel);
  if (copy.fills() || copy.regions().size() != 1) return false;
  const miniinfer_copy_region& region = copy.regions()[0];
  if (region.src_offset != 0 || region.dst_offset != 0) return false;
  std::int64_t stride = 1;
  for (int axis = region.rank; axis-- > 0;) {
    if (region.dims[axis] == 1) continue;
    if (region.src_strides[axis] != stride || region.dst_strides[axis] != stride) return false;
    stride *= region.dims[axis];
  }
  const Result<std::uint64_t> in = element_count(*graph.value(node.inputs[0]).shape);
  const Result<std::uint64_t> out = element_count(*graph.value(node.outputs[0]).shape);
  return in && out && *in == *out && static_cast<std::uint64_t>(stride) == *in;
}

}  // namespace

Result<int> simplify_copies(Graph& graph, PassContext&) {
  int changed = 0;
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    Node& node = graph.node(id);
    if (node.removed) continue;
    if (moves_nothing(graph, node)) {
      node.op = "view";
      node.kernel = nullptr;
      ++changed;
    }
    if (node.op != "view") continue;
    // A view of a view looks at what that one looks at.
    const NodeId before = graph.value(node.inputs[0]).producer;
    if (before != kNoNode && graph.node(before).op == "view") {
      node.inputs[0] = graph.node(before).inputs[0];
      ++changed;
    }
    const Value& in = graph.value(node.inputs[0]);
    if (in.constant) {
      auto constant = std::make_shared<Constant>(*in.constant);
      Value& out = graph.value(node.outputs[0]);
      constant->type = {out.dtype, *out.shape};
      constant->keep = in.constant;
      out.constant = std::move(constant);
      out.producer = kNoNode;
      graph.remove_node(id);
      ++changed;
      continue;
    }
    if (in.shape == graph.value(node.outputs[0]).shape &&
        in.dtype == graph.value(node.outputs[0]).dtype) {
      graph.replace_uses(node.outputs[0], node.inputs[0]);
      graph.remove_node(id);
      ++changed;
    }
  }
  return changed;
}

}  // namespace miniinfer
