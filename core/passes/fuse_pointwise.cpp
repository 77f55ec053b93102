#include <algorithm>

#include "core/passes/pass.hpp"
#include "core/passes/program_editor.hpp"

namespace miniinfer {
namespace {

const PointwiseProgram& program_of(const Node& node) {
  return static_cast<const PointwiseProgram&>(*node.kernel);
}

// The consumer with the producer's instructions in front of its own. Inputs both read appear once.
struct Fused {
  KernelAttrsPtr kernel;
  std::vector<ValueId> inputs;
};

Fused fuse(const Node& producer, const Node& consumer) {
  Fused fused;
  const auto input_of = [&](ValueId id) {
    const auto found = std::find(fused.inputs.begin(), fused.inputs.end(), id);
    if (found == fused.inputs.end()) {
      fused.inputs.push_back(id);
      return fused.inputs.size() - 1;
    }
    return static_cast<std::size_t>(found - fused.inputs.begin());
  };
  std::vector<std::size_t> producer_inputs;
  std::vector<std::size_t> consumer_inputs;
  for (const ValueId id : producer.inputs) producer_inputs.push_back(input_of(id));
  for (const ValueId id : consumer.inputs) {
    const bool from_producer = id == producer.outputs[0];
    consumer_inputs.push_back(from_producer ? ~std::size_t{0} : input_of(id));
  }

  PointwiseBuilder builder(static_cast<std::uint32_t>(fused.inputs.size()));
  const auto registers_of = [&](const std::vector<std::size_t>& inputs,
                                PointwiseBuilder::Reg produced) {
    std::vector<PointwiseBuilder::Reg> registers;
    for (const std::size_t input : inputs) {
      registers.push_back(
          input == ~std::size_t{0} ? produced : builder.input(static_cast<std::uint32_t>(input)));
    }
    return registers;
  };
  const PointwiseBuilder::Reg produced =
      append_program(builder, program_of(producer), registers_of(producer_inputs, {}))[0];
  fused.kernel = builder.finish(
      append_program(builder, program_of(consumer), registers_of(consumer_inputs, produced)));
  return fused;
}

// Whether the consumer can compute what the producer gives instead of reading it. The shapes must
// be equal: a producer that is broadcast would be computed again for each place it is read.
bool can_fuse(const Graph& graph, const Node& producer, const Node& consumer,
              const PassContext& context) {
  if (producer.removed || producer.op != MINIINFER_POINTWISE || producer.outputs.size() != 1) {
    return false;
  }
  if (graph.value(producer.outputs[0]).shape != graph.value(consumer.outputs[0]).shape) {
    return false;
  }
  const std::size_t instructions =
      program_of(producer).code().size() + program_of(consumer).code().size();
  if (instructions > context.max_instructions) return false;
  std::vector<ValueId> inputs = producer.inputs;
  inputs.insert(inputs.end(), consumer.inputs.begin(), consumer.inputs.end());
  std::sort(inputs.begin(), inputs.end());
  const auto distinct = std::unique(inputs.begin(), inputs.end()) - inputs.begin() - 1;
  return static_cast<std::size_t>(distinct) + consumer.outputs.size() <= context.max_operands;
}

}  // namespace

Result<int> fuse_pointwise(Graph& graph, PassContext& context) {
  int changed = 0;
  std::vector<std::vector<NodeId>> uses = graph.uses();
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    if (graph.node(id).removed || graph.node(id).op != MINIINFER_POINTWISE) continue;
    // Producers come before their consumers and are fused already, so one look at each input is
    // enough; a fusion brings new inputs, whose producers are looked at in turn.
    for (std::size_t i = 0; i < graph.node(id).inputs.size();) {
      const ValueId input = graph.node(id).inputs[i];
      const NodeId producer = graph.value(input).producer;
      const bool only_reader = std::all_of(uses[input].begin(), uses[input].end(),
                                           [&](NodeId reader) { return reader == id; });
      if (producer == kNoNode || !only_reader || graph.is_output(input) ||
          !can_fuse(graph, graph.node(producer), graph.node(id), context)) {
        ++i;
        continue;
      }
      Fused fused = fuse(graph.node(producer), graph.node(id));
      for (const ValueId read : graph.node(producer).inputs) {
        std::replace(uses[read].begin(), uses[read].end(), producer, id);
      }
      Node& node = graph.node(id);
      node.kernel = std::move(fused.kernel);
      node.inputs = std::move(fused.inputs);
      std::vector<NodeId> sources = graph.node(producer).origin.sources;
      sources.insert(sources.end(), node.origin.sources.begin(), node.origin.sources.end());
      node.origin.sources = std::move(sources);
      graph.remove_node(producer);
      ++changed;
      i = 0;
    }
  }
  return changed;
}

}  // namespace miniinfer
