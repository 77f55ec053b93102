// LayerNormalization in primitive operators, as exporters below its opset 17 write it:
//
//   d = x - mean(x)
//   y = d / sqrt(mean(d * d) + epsilon) [* scale] [+ bias]
//
// and RMSNormalization, which is the same with d = x and no bias.

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>

#include "core/ops/rules.hpp"
#include "core/passes/pass.hpp"

namespace miniinfer {
namespace {

struct Norm {
  std::vector<NodeId> nodes;  // all it is written with; the last gives y
  ValueId x = kNoValue;
  std::size_t axes = 0;  // how many, counted from the last
  float epsilon = 0;
  bool rms = false;
  ConstantPtr scale, bias;  // of the shape of those axes
};

// How many axes, counted from the last, a ReduceMean takes the mean of; 0 for any others.
std::size_t mean_axes(const Graph& graph, const Node& mean) {
  const std::optional<Shape>& shape = graph.value(mean.inputs[0]).shape;
  if (!shape || mean.attributes.get_int("keepdims", 1) == 0) return 0;
  std::vector<std::int64_t> given;
  if (mean.inputs.size() > 1 && mean.inputs[1] != kNoValue) {
    const ConstantPtr& list = graph.value(mean.inputs[1]).constant;
    if (!list) return 0;
    given = list->as_ints();
  }
  if (given.empty()) {
    return mean.attributes.get_int("noop_with_empty_axes", 0) != 0 ? 0 : shape->size();
  }
  Result<std::vector<std::int64_t>> axes = normalise_axes(given, shape->size());
  if (!axes) return 0;
  std::sort(axes->begin(), axes->end());
  std::vector<std::int64_t> last(axes->size());
  std::iota(last.begin(), last.end(), static_cast<std::int64_t>(shape->size() - axes->size()));
  return *axes == last ? axes->size() : 0;
}

// The number that a constant of one element is.
std::optional<double> number(const Graph& graph, ValueId id) {
  const ConstantPtr& constant = graph.value(id).constant;
  if (!constant) return {};
  const Result<std::uint64_t> count = element_count(constant->type.shape);
  if (!count || *count != 1) return {};
  const std::vector<double> values = constant->as_doubles();
  return values.size() == 1 ? std::optional(values[0]) : std::nullopt;
}

// A constant broadcast to `shape`, or null where it does not fit, or would be too large.
ConstantPtr broadcast(const ConstantPtr& from, const Shape& shape, PassContext& context) {
  if (from->type.shape == shape) return from;
  Shape old = from->type.shape;
  while (old.size() > shape.size() && old[0] == 1) old.erase(old.begin());
  if (old.size() > shape.size()) return nullptr;
  old.insert(old.begin(), shape.size() - old.size(), 1);
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (old[i] != 1 && old[i] != shape[i]) return nullptr;
  }
  const DataType dtype = from->type.dtype;
  if (old == shape) {
    auto same = std::make_shared<Constant>(*from);
    same->type.shape = shape;
    return same;
  }
  const Result<std::uint64_t> bytes = byte_count(dtype, shape);
  if (!bytes || *bytes > context.fold_value_bytes || *bytes > context.fold_total_bytes) {
    return nullptr;
  }
  context.fold_total_bytes -= *bytes;
  const std::size_t element = bits(dtype) / 8;
  std::vector<std::byte> spread(*bytes);
  for (std::size_t at = 0; at < spread.size() / element; ++at) {
    std::size_t rest = at, source = 0, stride = 1;
    for (std::size_t i = shape.size(); i-- > 0;) {
      const auto size = static_cast<std::size_t>(shape[i]);
      if (old[i] != 1) source += rest % size * stride;
      stride *= static_cast<std::size_t>(old[i]);
      rest /= size;
    }
    std::memcpy(&spread[at * element], &from->bytes[source * element], element);
  }
  return make_constant({dtype, shape}, spread);
}

class Matcher {
 public:
  Matcher(const Graph& graph, PassContext& context)
      : graph_(graph), context_(context), uses_(graph.uses()) {}

  // The normalisation whose division, or multiplication with the reciprocal, is this node.
  std::optional<Norm> match(NodeId id) {
    const Node& node = graph_.node(id);
    if (node.op == "Div") return match_quotient(id, node.inputs[0], node.inputs[1], {});
    if (node.op != "Mul") return {};
    for (const std::size_t i : {0, 1}) {
      const ValueId inverse = node.inputs[i];
      const Node* by = made_by(inverse, "Reciprocal");
      const Node* quotient = made_by(inverse, "Div");
      if (quotient != nullptr && number(graph_, quotient->inputs[0]) == 1.0) by = quotient;
      if (by == nullptr) continue;
      std::optional<Norm> norm =
          match_quotient(id, node.inputs[1 - i], by->inputs[by == quotient ? 1 : 0],
                         {graph_.value(inverse).producer});
      if (norm) return norm;
    }
    return {};
  }

 private:
  const Node* made_by(ValueId id, std::string_view op) const {
    const NodeId producer = graph_.value(id).producer;
    if (producer == kNoNode || graph_.node(producer).op != op) return nullptr;
    return &graph_.node(producer);
  }

  // As made_by; the node is one of the normalisation's.
  const Node* take(ValueId id, std::string_view op, Norm& norm) const {
    const Node* node = made_by(id, op);
    if (node != nullptr) norm.nodes.push_back(graph_.value(id).producer);
    return node;
  }

  std::optional<Norm> match_quotient(NodeId last, ValueId numerator, ValueId root,
                                     std::vector<NodeId> taken) {
    Norm norm;
    norm.nodes = std::move(taken);
    const ValueId squared = match_root(root, norm);
    if (squared == kNoValue || !match_centred(numerator, squared, norm)) return {};
    norm.nodes.push_back(last);
    if (!keeps_to_itself(norm)) return {};

    const Value& x = graph_.value(norm.x);
    static constexpr DataType kTypes[] = {DataType::Float32, DataType::Float16, DataType::Float64};
    if (std::ranges::find(kTypes, x.dtype) == std::end(kTypes)) return {};
    if (!x.shape || !has_rank_of(norm.x, last)) return {};
    const Shape inner(x.shape->end() - static_cast<std::ptrdiff_t>(norm.axes), x.shape->end());
    if (*std::ranges::min_element(inner) < 1) return {};

    norm.scale = take_parameter("Mul", inner, norm);
    if (!norm.rms) norm.bias = take_parameter("Add", inner, norm);
    if (!norm.scale) norm.scale = broadcast(make_constant_scalar(x.dtype, 1), inner, context_);
    return norm.scale ? std::optional(std::move(norm)) : std::nullopt;
  }

  // sqrt(mean(s * s) + epsilon); gives s.
  ValueId match_root(ValueId root, Norm& norm) const {
    const Node* sqrt = take(root, "Sqrt", norm);
    const Node* sum = sqrt != nullptr ? take(sqrt->inputs[0], "Add", norm) : nullptr;
    if (sum == nullptr) return kNoValue;
    const std::size_t at = graph_.value(sum->inputs[0]).constant ? 0 : 1;
    const std::optional<double> epsilon = number(graph_, sum->inputs[at]);
    const Node* mean = take(sum->inputs[1 - at], "ReduceMean", norm);
    if (!epsilon || mean == nullptr) return kNoValue;
    norm.epsilon = static_cast<float>(*epsilon);
    norm.axes = mean_axes(graph_, *mean);
    if (norm.axes == 0) return kNoValue;
    if (const Node* power = take(mean->inputs[0], "Pow", norm)) {
      return number(graph_, power->inputs[1]) == 2.0 ? power->inputs[0] : kNoValue;
    }
    const Node* product = take(mean->inputs[0], "Mul", norm);
    return product != nullptr && product->inputs[0] == product->inputs[1] ? product->inputs[0]
                                                                          : kNoValue;
  }

  // x - mean(x), which some exporters write twice: once to be squared, once to be divided.
  bool match_centred(ValueId numerator, ValueId squared, Norm& norm) const {
    const Node* centred = made_by(numerator, "Sub");
    const Node* mean = centred != nullptr ? made_by(centred->inputs[1], "ReduceMean") : nullptr;
    norm.rms = mean == nullptr || mean->inputs[0] != centred->inputs[0];
    norm.x = norm.rms ? numerator : centred->inputs[0];
    if (norm.rms) return numerator == squared;
    take(numerator, "Sub", norm);
    take(centred->inputs[1], "ReduceMean", norm);
    if (mean_axes(graph_, *mean) != norm.axes) return false;
    if (numerator == squared) return true;
    const Node* again = take(squared, "Sub", norm);
    return again != nullptr && again->inputs == centred->inputs;
  }

  // No one else reads what comes between.
  bool keeps_to_itself(const Norm& norm) const {
    const auto inside = [&](NodeId id) {
      return std::find(norm.nodes.begin(), norm.nodes.end(), id) != norm.nodes.end();
    };
    return std::all_of(norm.nodes.begin(), norm.nodes.end() - 1, [&](NodeId id) {
      const ValueId between = graph_.node(id).outputs[0];
      return !graph_.is_output(between) && std::ranges::all_of(uses_[between], inside);
    });
  }

  // A constant of one element has any rank, and broadcasting takes the larger one.
  bool has_rank_of(ValueId x, NodeId id) const {
    const std::vector<ValueId>& outputs = graph_.node(id).outputs;
    if (outputs.empty() || outputs[0] == kNoValue) return false;
    const std::optional<Shape>& made = graph_.value(outputs[0]).shape;
    const std::optional<Shape>& given = graph_.value(x).shape;
    return made && given && made->size() == given->size();
  }

  // The constant with which the only reader of y, if it is `op`, combines it.
  ConstantPtr take_parameter(std::string_view op, const Shape& inner, Norm& norm) const {
    const ValueId y = graph_.node(norm.nodes.back()).outputs[0];
    if (uses_[y].size() != 1 || graph_.is_output(y)) return nullptr;
    const NodeId id = uses_[y][0];
    const Node& reader = graph_.node(id);
    if (reader.op != op || !has_rank_of(norm.x, id)) return nullptr;
    const ValueId other = reader.inputs[reader.inputs[0] == y ? 1 : 0];
    const ConstantPtr& constant = graph_.value(other).constant;
    if (!constant || constant->type.dtype != graph_.value(norm.x).dtype) return nullptr;
    ConstantPtr parameter = broadcast(constant, inner, context_);
    if (parameter) norm.nodes.push_back(id);
    return parameter;
  }

  const Graph& graph_;
  PassContext& context_;
  // Of the graph as it was. A lift takes readers away and gives x one in their place, so what kept
  // to itself still does.
  const std::vector<std::vector<NodeId>> uses_;
};

void replace(Graph& graph, Norm norm) {
  const NodeId last = norm.nodes.back();
  std::vector<ValueId> inputs = {norm.x, graph.add_constant(norm.scale)};
  if (norm.bias) inputs.push_back(graph.add_constant(norm.bias));
  Origin origin;
  std::sort(norm.nodes.begin(), norm.nodes.end());
  for (const NodeId id : norm.nodes) {
    const std::vector<NodeId>& sources = graph.node(id).origin.sources;
    origin.sources.insert(origin.sources.end(), sources.begin(), sources.end());
    if (id != last) graph.remove_node(id);
  }
  Node& node = graph.node(last);
  node.op = norm.rms ? "RMSNormalization" : "LayerNormalization";
  node.attributes = {};
  node.attributes.set("axis", -static_cast<std::int64_t>(norm.axes));
  node.attributes.set("epsilon", norm.epsilon);
  if (graph.value(norm.x).dtype == DataType::Float64) {
    node.attributes.set("stash_type", static_cast<std::int64_t>(DataType::Float64));
  }
  node.inputs = std::move(inputs);
  node.origin = std::move(origin);
}

}  // namespace

Result<int> lift_layer_norm(Graph& graph, PassContext& context) {
  int lifted = 0;
  Matcher matcher(graph, context);
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    if (graph.node(id).removed) continue;
    if (std::optional<Norm> norm = matcher.match(id)) {
      replace(graph, std::move(*norm));
      ++lifted;
    }
  }
  return lifted;
}

}  // namespace miniinfer
