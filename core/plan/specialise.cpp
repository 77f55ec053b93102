#include "core/plan/specialise.hpp"

#include <algorithm>
#include <set>

#include "core/base/format.hpp"
#include "core/ops/operator.hpp"

namespace miniinfer {
namespace {

bool is_concrete(const Value& value) {
  return value.shape && std::none_of(value.shape->begin(), value.shape->end(),
                                     [](std::int64_t dim) { return dim < 0; });
}

Status set_inputs(Graph& graph, std::span<const InputFact> inputs) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    Value& value = graph.value(graph.inputs[i]);
    value.dtype = inputs[i].type.dtype;
    value.shape = inputs[i].type.shape;
    if (Result<std::uint64_t> bytes = byte_count(value.dtype, *value.shape); !bytes) {
      return bytes.status().with_context("input " + printable(value.name));
    }
  }
  return {};
}

// A graph input whose value is known becomes a constant; the list of inputs stays as it is.
void pin_known_inputs(Graph& graph, std::span<const InputFact> inputs) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].value) continue;
    const ValueId pinned = graph.add_constant(inputs[i].value);
    graph.replace_uses(graph.inputs[i], pinned);
  }
}

struct Cut {
  std::vector<bool> deferred;           // by node
  std::vector<bool> late;               // by value: known only to the rest
  std::set<ValueId> host_reads;         // values the rest must read to be planned
  std::vector<ValueId> dynamic_values;  // computed here, with a size the run finds out
};

// Which nodes must wait. A node whose outputs have no known size and which is no data-dependent
// operator waits for nothing that could come: that is an error.
Cut find_cut(const Graph& graph) {
  Cut cut;
  cut.deferred.resize(graph.node_count());
  cut.late.resize(graph.value_count());
  std::vector<bool> dynamic(graph.value_count());
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    const Node& node = graph.node(id);
    if (node.removed) continue;
    const Operator* op = find_operator(node.op);
    bool defer = false;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId input = node.inputs[i];
      if (input == kNoValue) continue;
      if (cut.late[input] || dynamic[input]) defer = true;
      if (op != nullptr && i < 64 && (op->host_inputs >> i & 1) != 0 &&
          !graph.value(input).constant) {
        defer = true;
        if (!cut.late[input]) cut.host_reads.insert(input);
      }
    }
    cut.deferred[id] = defer;
    for (const ValueId output : node.outputs) {
      if (output == kNoValue) continue;
      if (defer) {
        cut.late[output] = true;
      } else if (op != nullptr && op->data_dependent && !is_concrete(graph.value(output))) {
        dynamic[output] = true;
        cut.dynamic_values.push_back(output);
      }
    }
  }
  return cut;
}

Status report_unknown_shapes(const Graph& graph, const Cut& cut) {
  std::vector<NodeReport> nodes;
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    const Node& node = graph.node(id);
    if (node.removed || cut.deferred[id]) continue;
    const Operator* op = find_operator(node.op);
    if (op != nullptr && op->data_dependent) continue;
    for (const ValueId output : node.outputs) {
      if (output != kNoValue && !is_concrete(graph.value(output))) {
        nodes.push_back(describe(graph, id, "the size of its output cannot be known"));
        break;
      }
    }
  }
  if (nodes.empty()) return {};
  return {Code::Unsupported, format("%zu nodes whose output sizes are unknown", nodes.size()), "",
          std::move(nodes)};
}

// The lowered node that computes a dynamic value also says how much it wrote.
Status add_counts(Graph& kernels, const Graph& first, const Cut& cut,
                  const std::vector<ValueId>& results, Specialised& out) {
  for (const ValueId value : cut.dynamic_values) {
    const auto found = std::find(results.begin(), results.end(), value);
    if (found == results.end()) continue;
    const auto result = static_cast<std::uint32_t>(found - results.begin());
    if (kernels.value(kernels.outputs[result]).constant) continue;  // nothing can be chosen
    const NodeId producer = kernels.value(kernels.outputs[result]).producer;
    const Shape& shape = *first.value(value).shape;
    const auto axis = std::find(shape.begin(), shape.end(), -1);
    if (producer == kNoNode || kernels.node(producer).outputs.size() != 2 || axis == shape.end()) {
      return {Code::Internal, "an operator of unknown output size does not say how much it gives"};
    }
    out.dynamic.push_back({result, static_cast<std::uint32_t>(kernels.outputs.size()),
                           static_cast<std::uint32_t>(axis - shape.begin())});
    kernels.outputs.push_back(kernels.node(producer).outputs[1]);
  }
  return {};
}

}  // namespace

Result<Specialised> specialise(const Graph& model, std::span<const InputFact> inputs,
                               PassContext& context, std::span<const std::string> disabled_passes) {
  Specialised out;
  Graph graph = model;
  if (Status status = set_inputs(graph, inputs); !status.ok()) return status;
  pin_known_inputs(graph, inputs);
  std::vector<bool> before(graph.node_count());
  for (NodeId id = 0; id < graph.node_count(); ++id) before[id] = graph.node(id).removed;
  if (Result<int> folded = fold(graph, context); !folded) return folded.status();
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    if (!graph.node(id).removed || before[id]) continue;
    const std::vector<NodeId>& sources = graph.node(id).origin.sources;
    out.host_shape.insert(out.host_shape.end(), sources.begin(), sources.end());
  }
  const Cut cut = find_cut(graph);
  if (Status status = report_unknown_shapes(graph, cut); !status.ok()) return status;

  // Results of the first part: the model's outputs it knows, then what the rest reads of it.
  std::vector<ValueId> results;
  std::vector<ValueId> rest_outputs;
  const auto index_in = [](std::vector<ValueId>& list, ValueId id) {
    const auto index =
        static_cast<std::uint32_t>(std::find(list.begin(), list.end(), id) - list.begin());
    if (index == list.size()) list.push_back(id);
    return index;
  };
  std::vector<std::pair<bool, std::uint32_t>> outputs;  // late?, index
  for (const ValueId output : graph.outputs) {
    // Outputs keep an entry of their own even where two are one value.
    const bool late = cut.late[output];
    std::vector<ValueId>& list = late ? rest_outputs : results;
    outputs.emplace_back(late, static_cast<std::uint32_t>(list.size()));
    list.push_back(output);
  }
  const bool has_rest =
      std::find(cut.deferred.begin(), cut.deferred.end(), true) != cut.deferred.end();
  if (has_rest) {
    Rest rest;
    rest.graph = graph;
    rest.graph.inputs.clear();
    rest.graph.outputs = rest_outputs;
    std::set<ValueId> carried;
    for (NodeId id = 0; id < graph.node_count(); ++id) {
      if (graph.node(id).removed) continue;
      if (!cut.deferred[id]) {
        rest.graph.remove_node(id);
        continue;
      }
      for (const ValueId input : graph.node(id).inputs) {
        if (input != kNoValue && !cut.late[input] && !graph.value(input).constant &&
            carried.insert(input).second) {
          rest.carried.push_back(index_in(results, input));
          rest.read_on_host.push_back(cut.host_reads.count(input) > 0);
          rest.graph.inputs.push_back(input);
          rest.graph.value(input).producer = kNoNode;
        }
      }
    }
    rest.graph.compact();
    out.rest = std::move(rest);
  }
  for (const auto& [late, index] : outputs) {
    // Indices of the rest's outputs come after those of all results, counts included (see below).
    out.outputs.push_back(late ? ~index : index);
  }

  Graph first = graph;
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    if (cut.deferred[id]) first.remove_node(id);
  }
  first.outputs = results;
  // Names stand by value ids until here; lowering numbers anew.
  Result<Graph> kernels = lower(first);
  if (!kernels) return kernels.status();
  if (Status status = add_counts(*kernels, first, cut, results, out); !status.ok()) return status;
  const auto result_count = static_cast<std::uint32_t>(kernels->outputs.size());
  for (std::uint32_t& output : out.outputs) {
    if (output > ~std::uint32_t{0} / 2) output = result_count + ~output;
  }
  if (Status status = run_passes(PassStage::Kernel, *kernels, context, disabled_passes);
      !status.ok()) {
    return status;
  }
  out.kernels = std::move(*kernels);
  return out;
}

}  // namespace miniinfer
