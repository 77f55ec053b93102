#include "core/ops/rules.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <limits>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"

namespace miniinfer {
namespace {

std::string vformat(const char* format, va_list arguments) {
  char text[512];
  std::vsnprintf(text, sizeof text, format, arguments);
  return text;
}

}  // namespace

Status invalid(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::string text = vformat(format, arguments);
  va_end(arguments);
  return {Code::InvalidArgument, std::move(text)};
}

Status unsupported(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::string text = vformat(format, arguments);
  va_end(arguments);
  return {Code::Unsupported, std::move(text)};
}

Status name_node(const Graph& graph, NodeId node, const Status& status) {
  NodeReport report = describe(graph, node, std::string(status.message()));
  std::string message = format("%s '%s' of (%s): %s", report.op.c_str(), report.name.c_str(),
                               report.types.c_str(), report.reason.c_str());
  return {status.code(), std::move(message), std::string(status.hint()), {std::move(report)}};
}

bool is_concrete(const Shape& shape) {
  return std::none_of(shape.begin(), shape.end(), [](std::int64_t dim) { return dim < 0; });
}

bool is_concrete(const std::optional<Shape>& shape) { return shape && is_concrete(*shape); }

Result<Shape> broadcast(const Shape& a, const Shape& b) {
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  Shape out = longer;
  const std::size_t shift = longer.size() - shorter.size();
  for (std::size_t i = 0; i < shorter.size(); ++i) {
    const std::int64_t x = longer[i + shift];
    const std::int64_t y = shorter[i];
    if (x == y || y == 1) continue;
    if (x == 1) {
      out[i + shift] = y;
    } else if (x == -1 || y == -1) {
      // The unknown one is 1 or equal to the other.
      out[i + shift] = std::max(x, y);
    } else {
      return invalid("shapes %s and %s do not broadcast", to_string(a).c_str(),
                     to_string(b).c_str());
    }
  }
  return out;
}

Result<std::int64_t> normalise_axis(std::int64_t axis, std::size_t rank) {
  const auto count = static_cast<std::int64_t>(rank);
  if (axis < -count || axis >= count) {
    return invalid("axis %lld is not in [%lld, %lld)", static_cast<long long>(axis),
                   static_cast<long long>(-count), static_cast<long long>(count));
  }
  return axis < 0 ? axis + count : axis;
}

Result<std::vector<std::int64_t>> normalise_axes(std::span<const std::int64_t> axes,
                                                 std::size_t rank) {
  std::vector<std::int64_t> out;
  std::vector<bool> seen(rank);
  for (const std::int64_t axis : axes) {
    Result<std::int64_t> normal = normalise_axis(axis, rank);
    if (!normal) return normal.status();
    const auto index = static_cast<std::size_t>(*normal);
    if (seen[index]) return invalid("axis %zu comes twice", index);
    seen[index] = true;
    out.push_back(*normal);
  }
  return out;
}

std::int64_t product(const Shape& shape, std::size_t from, std::size_t to) {
  std::int64_t count = 1;
  for (std::size_t i = from; i < to; ++i) {
    if (!checked_mul(count, shape[i], &count)) return std::numeric_limits<std::int64_t>::max();
  }
  return count;
}

Shape row_major_strides(const Shape& shape) {
  Shape strides(shape.size());
  std::int64_t stride = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= std::max<std::int64_t>(shape[i], 1);
  }
  return strides;
}

Status check_type(const InferContext& context, std::size_t input, TypeRule rule) {
  const DataType type = context.dtype(input);
  if (type == DataType::Undefined) return {};
  const bool allowed = rule == TypeRule::Any ||
                       (rule == TypeRule::Numeric && (is_float(type) || is_integer(type))) ||
                       (rule == TypeRule::Float && is_float(type)) ||
                       (rule == TypeRule::Integer && is_integer(type)) ||
                       (rule == TypeRule::Boolean && type == DataType::Bool);
  if (allowed) return {};
  constexpr const char* kNames[] = {"any type", "numbers", "a float type", "integers", "bool"};
  return invalid("input %zu is %s; it takes %s", input, to_string(type).data(),
                 kNames[static_cast<int>(rule)]);
}

Result<DataType> common_type(const InferContext& context, std::size_t first, std::size_t last) {
  DataType type = DataType::Undefined;
  for (std::size_t i = first; i < last; ++i) {
    const DataType next = context.dtype(i);
    if (next == DataType::Undefined) continue;
    if (type == DataType::Undefined) type = next;
    if (type != next) {
      return invalid("input %zu is %s and others are %s; they must be of one type", i,
                     to_string(next).data(), to_string(type).data());
    }
  }
  return type;
}

Result<std::optional<Shape>> common_shape(const InferContext& context, std::size_t first,
                                          std::size_t last) {
  std::optional<Shape> out = Shape{};
  for (std::size_t i = first; i < last; ++i) {
    if (!context.shape(i)) return std::optional<Shape>();
    Result<Shape> shape = broadcast(*out, *context.shape(i));
    if (!shape) return shape.status();
    out = std::move(*shape);
  }
  return out;
}

Status infer_same(InferContext& context) {
  return context.set(0, context.dtype(0), context.shape(0));
}

Result<std::optional<std::vector<std::int64_t>>> host_ints(const InferContext& context,
                                                           std::size_t input,
                                                           std::vector<std::int64_t> fallback) {
  using Values = std::optional<std::vector<std::int64_t>>;
  if (!context.has_input(input)) return Values(std::move(fallback));
  const DataType type = context.dtype(input);
  if (type != DataType::Undefined && !is_integer(type)) {
    return invalid("input %zu is %s; it takes integers", input, to_string(type).data());
  }
  if (context.shape(input) && context.shape(input)->size() > 1) {
    return invalid("input %zu is of rank %zu; it takes a list", input,
                   context.shape(input)->size());
  }
  return context.ints(input);
}

void set_input(UpgradeContext& context, std::size_t input, ValueId value) {
  std::vector<ValueId>& inputs = context.node.inputs;
  if (inputs.size() <= input) inputs.resize(input + 1, kNoValue);
  inputs[input] = value;
}

void ints_to_input(UpgradeContext& context, std::string_view attribute, std::size_t input) {
  if (const auto values = context.node.attributes.get_ints(attribute)) {
    set_input(context, input, context.graph.add_constant(make_constant_ints(*values)));
  }
  context.node.attributes.erase(attribute);
}

void float_to_input(UpgradeContext& context, std::string_view attribute, std::size_t input) {
  if (context.node.attributes.find(attribute) != nullptr) {
    const std::vector<ValueId>& inputs = context.node.inputs;
    DataType type = DataType::Undefined;
    if (!inputs.empty() && inputs[0] != kNoValue) type = context.graph.value(inputs[0]).dtype;
    if (type == DataType::Undefined) type = DataType::Float32;
    const float value = context.node.attributes.get_float(attribute, 0);
    set_input(context, input, context.graph.add_constant(make_constant_scalar(type, value)));
  }
  context.node.attributes.erase(attribute);
}

void align_input(UpgradeContext& context, std::size_t input, std::int64_t axis) {
  if (context.node.inputs.size() <= input) return;
  Node align;
  align.op = "miniinfer.Align";
  align.attributes.set("axis", axis);
  align.inputs = {context.node.inputs[0], context.node.inputs[input]};
  align.outputs = {context.graph.add_value({})};
  align.origin = context.node.origin;
  context.node.inputs[input] = align.outputs[0];
  context.graph.add_node(std::move(align));
}

Status drop_consumed_inputs(UpgradeContext& context) {
  if (context.opset < 6) context.node.attributes.erase("consumed_inputs");
  return {};
}

}  // namespace miniinfer
