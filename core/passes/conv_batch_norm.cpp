#include <cmath>
#include <cstring>
#include <optional>

#include "core/passes/pass.hpp"

namespace miniinfer {
namespace {

// y = x * scale + shift for each channel, which is what a BatchNormalization of constants does.
struct ChannelAffine {
  std::vector<double> scale, shift;
};

std::optional<ChannelAffine> affine_of(const Graph& graph, const Node& norm) {
  if (norm.inputs.size() < 5 || norm.attributes.get_int("training_mode", 0) != 0) return {};
  for (std::size_t i = 1; i < norm.outputs.size(); ++i) {
    if (norm.outputs[i] != kNoValue) return {};
  }
  std::vector<double> params[4];  // scale, bias, mean, variance
  for (std::size_t i = 0; i < 4; ++i) {
    const ValueId id = norm.inputs[i + 1];
    if (id == kNoValue || !graph.value(id).constant) return {};
    params[i] = graph.value(id).constant->as_doubles();
    if (params[i].size() != params[0].size()) return {};
  }
  const double epsilon = norm.attributes.get_float("epsilon", 1e-5f);
  ChannelAffine affine;
  for (std::size_t c = 0; c < params[0].size(); ++c) {
    const double scale = params[0][c] / std::sqrt(params[3][c] + epsilon);
    affine.scale.push_back(scale);
    affine.shift.push_back(params[1][c] - params[2][c] * scale);
  }
  return affine;
}

// Multiplies the weights by the scale of their output channel, which is axis 0 of Conv's weights
// and axis 1 of ConvTranspose's.
ConstantPtr scale_weights(const Constant& weights, const std::vector<double>& scale,
                          std::size_t channel_axis) {
  const Shape& shape = weights.type.shape;
  std::size_t inner = 1;
  for (std::size_t axis = channel_axis + 1; axis < shape.size(); ++axis) {
    inner *= static_cast<std::size_t>(shape[axis]);
  }
  std::vector<float> scaled(weights.bytes.size() / sizeof(float));
  std::memcpy(scaled.data(), weights.bytes.data(), weights.bytes.size());
  for (std::size_t i = 0; i < scaled.size(); ++i) {
    scaled[i] = static_cast<float>(scaled[i] * scale[i / inner % scale.size()]);
  }
  return make_constant(weights.type, std::as_bytes(std::span(scaled)));
}

}  // namespace

Result<int> fuse_conv_batch_norm(Graph& graph, PassContext&) {
  int fused = 0;
  const std::vector<std::vector<NodeId>> uses = graph.uses();
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    Node& norm = graph.node(id);
    if (norm.removed || norm.op != "BatchNormalization") continue;
    const ValueId between = norm.inputs[0];
    const NodeId conv_id = graph.value(between).producer;
    if (conv_id == kNoNode || uses[between].size() != 1 || graph.is_output(between)) continue;
    Node& conv = graph.node(conv_id);
    const bool transposed = conv.op == "ConvTranspose";
    if (conv.removed || (conv.op != "Conv" && !transposed)) continue;
    if (transposed && conv.attributes.get_int("group", 1) != 1) continue;
    const ConstantPtr weights = graph.value(conv.inputs[1]).constant;
    const bool has_bias = conv.inputs.size() > 2 && conv.inputs[2] != kNoValue;
    if (!weights || weights->type.dtype != DataType::Float32 || weights->type.shape.size() < 3) {
      continue;
    }
    if (has_bias && !graph.value(conv.inputs[2]).constant) continue;
    const std::optional<ChannelAffine> affine = affine_of(graph, norm);
    const std::size_t channel_axis = transposed ? 1 : 0;
    if (!affine ||
        static_cast<std::int64_t>(affine->scale.size()) != weights->type.shape[channel_axis]) {
      continue;
    }

    std::vector<float> bias(affine->scale.size());
    const std::vector<double> old_bias =
        has_bias ? graph.value(conv.inputs[2]).constant->as_doubles() : std::vector<double>();
    for (std::size_t c = 0; c < bias.size(); ++c) {
      const double before = has_bias ? old_bias[c] : 0.0;
      bias[c] = static_cast<float>(before * affine->scale[c] + affine->shift[c]);
    }
    const ValueId new_weights =
        graph.add_constant(scale_weights(*weights, affine->scale, channel_axis));
    const ValueId new_bias = graph.add_constant(
        make_constant({DataType::Float32, {static_cast<std::int64_t>(bias.size())}},
                      std::as_bytes(std::span(bias))));
    Node& target = graph.node(conv_id);
    target.inputs.resize(3);
    target.inputs[1] = new_weights;
    target.inputs[2] = new_bias;
    const std::vector<NodeId>& sources = graph.node(id).origin.sources;
    target.origin.sources.insert(target.origin.sources.end(), sources.begin(), sources.end());
    graph.replace_uses(graph.node(id).outputs[0], between);
    graph.remove_node(id);
    ++fused;
  }
  return fused;
}

}  // namespace miniinfer
