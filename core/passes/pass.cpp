#include "core/passes/pass.hpp"

#include <algorithm>
#include <array>

namespace miniinfer {

std::span<const Pass> all_passes() {
  static constexpr std::array<Pass, 10> kPasses = {{
      {"fold", "nodes with constant inputs become constants", PassStage::Model, fold},
      {"eliminate", "operators that change nothing go", PassStage::Model, eliminate},
      {"share-equal", "equal nodes with equal inputs become one", PassStage::Model, share_equal},
      {"conv-batch-norm", "batch normalisation moves into the convolution before it",
       PassStage::Model, fuse_conv_batch_norm},
      {"lift-layer-norm", "layer normalisation written in simple operators becomes one node",
       PassStage::Model, lift_layer_norm},
      {"simplify-copies", "copies that move nothing become views", PassStage::Kernel,
       simplify_copies},
      {"inline-constants", "scalar constants move into pointwise programs", PassStage::Kernel,
       inline_constants},
      {"fuse-pointwise", "chains of pointwise operators become one program", PassStage::Kernel,
       fuse_pointwise},
      {"lift-attention", "attention written in products and a softmax becomes one node",
       PassStage::Kernel, lift_attention},
      {"narrow-floats", "float32 is computed in the type --precision names", PassStage::Kernel,
       narrow_floats},
  }};
  return kPasses;
}

Status run_passes(PassStage stage, Graph& graph, PassContext& context,
                  std::span<const std::string> disabled) {
  for (const Pass& pass : all_passes()) {
    if (pass.stage != stage) continue;
    if (std::find(disabled.begin(), disabled.end(), pass.name) != disabled.end()) continue;
    Result<int> changed = pass.run(graph, context);
    if (!changed) return changed.status();
    if (*changed > 0) graph.compact();
    if (Status status = verify(graph); !status.ok()) {
      return status.with_context("after pass " + std::string(pass.name));
    }
  }
  return {};
}

}  // namespace miniinfer
