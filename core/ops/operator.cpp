#include "core/ops/operator.hpp"

#include <algorithm>

#include "core/base/format.hpp"
#include "core/ops/rules.hpp"

namespace miniinfer {
namespace {

Status broken(const char* what, std::string_view name) {
  return {Code::InvalidArgument, std::string(what) + printable(name)};
}

Status check_count(const char* what, std::size_t count, int least, int most) {
  if (count >= static_cast<std::size_t>(least) &&
      (most < 0 || count <= static_cast<std::size_t>(most))) {
    return {};
  }
  if (most < 0) {
    return {Code::InvalidArgument, format("has %zu %s, takes at least %d", count, what, least)};
  }
  if (least == most) {
    return {Code::InvalidArgument, format("has %zu %s, takes %d", count, what, least)};
  }
  return {Code::InvalidArgument, format("has %zu %s, takes %d to %d", count, what, least, most)};
}

bool has_type(const AttributeValue& value, AttributeSpec::Type type) {
  switch (type) {
    case AttributeSpec::Int:
      return std::holds_alternative<std::int64_t>(value);
    case AttributeSpec::Float:
      return std::holds_alternative<float>(value);
    case AttributeSpec::String:
      return std::holds_alternative<std::string>(value);
    case AttributeSpec::Ints:
      return std::holds_alternative<std::vector<std::int64_t>>(value);
    case AttributeSpec::Floats:
      return std::holds_alternative<std::vector<float>>(value);
    case AttributeSpec::Strings:
      return std::holds_alternative<std::vector<std::string>>(value);
    case AttributeSpec::Tensor:
      return std::holds_alternative<ConstantPtr>(value);
  }
  return false;
}

const char* type_name(AttributeSpec::Type type) {
  constexpr const char* kNames[] = {"an integer", "a float", "a string", "integers",
                                    "floats",     "strings", "a tensor"};
  return kNames[type];
}

std::size_t trailing_trimmed(const std::vector<ValueId>& values) {
  std::size_t count = values.size();
  while (count > 0 && values[count - 1] == kNoValue) --count;
  return count;
}

}  // namespace

Status check_schema(const Operator& op, const Node& node) {
  // Operands left out at the end do not count.
  const std::size_t inputs = trailing_trimmed(node.inputs);
  Status status = check_count("inputs", inputs, op.min_inputs, op.max_inputs);
  if (!status.ok()) return status;
  status = check_count("outputs", trailing_trimmed(node.outputs), 0, op.max_outputs);
  if (!status.ok()) return status;
  for (int i = 0; i < op.min_inputs; ++i) {
    if (node.inputs[static_cast<std::size_t>(i)] == kNoValue) {
      return {Code::InvalidArgument, format("input %d is left out; it is required", i)};
    }
  }
  for (std::size_t i = static_cast<std::size_t>(op.min_inputs); op.max_inputs < 0 && i < inputs;
       ++i) {
    if (node.inputs[i] == kNoValue) {
      return {Code::InvalidArgument, format("input %zu is left out of a list", i)};
    }
  }
  for (const auto& [name, value] : node.attributes) {
    const auto spec = std::find_if(op.attributes.begin(), op.attributes.end(),
                                   [&](const AttributeSpec& s) { return s.name == name; });
    if (spec == op.attributes.end()) return broken("has an attribute it does not take: ", name);
    if (!has_type(value, spec->type)) {
      return {Code::InvalidArgument,
              format("attribute %s is not %s", name.c_str(), type_name(spec->type))};
    }
  }
  for (const AttributeSpec& spec : op.attributes) {
    if (spec.required && node.attributes.find(spec.name) == nullptr) {
      return broken("lacks the required attribute ", spec.name);
    }
  }
  return {};
}

Status infer_node(Graph& graph, NodeId id) {
  const Operator* op = find_operator(graph.node(id).op);
  if (op == nullptr || op->infer == nullptr) return {};
  InferContext context(graph, id);
  const Status status = op->infer(context);
  return status.ok() ? status : name_node(graph, id, status);
}

Status infer_shapes(Graph& graph) {
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    if (graph.node(id).removed) continue;
    if (Status status = infer_node(graph, id); !status.ok()) return status;
  }
  return {};
}

}  // namespace miniinfer
