#include "core/base/format.hpp"
#include "core/ops/operator.hpp"
#include "core/ops/rules.hpp"
#include "miniinfer/abi/base.h"

namespace miniinfer {
namespace {

const std::optional<Shape> kUnknownShape;
const Shape kNoShape;

std::string show(DataType dtype, const Shape& shape) { return to_string(TensorType{dtype, shape}); }

// Puts what is known of both into `known`; false where they contradict.
bool merge(const Shape& news, Shape& known) {
  if (news.size() != known.size()) return false;
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (known[i] == -1) known[i] = news[i];
    if (news[i] != -1 && news[i] != known[i]) return false;
  }
  return true;
}

}  // namespace

bool InferContext::has_input(std::size_t i) const {
  return i < node().inputs.size() && node().inputs[i] != kNoValue;
}

bool InferContext::has_output(std::size_t i) const {
  return i < node().outputs.size() && node().outputs[i] != kNoValue;
}

DataType InferContext::dtype(std::size_t i) const {
  return has_input(i) ? graph_.value(node().inputs[i]).dtype : DataType::Undefined;
}

const std::optional<Shape>& InferContext::shape(std::size_t i) const {
  return has_input(i) ? graph_.value(node().inputs[i]).shape : kUnknownShape;
}

ConstantPtr InferContext::constant(std::size_t i) const {
  return has_input(i) ? graph_.value(node().inputs[i]).constant : nullptr;
}

std::optional<std::vector<std::int64_t>> InferContext::ints(std::size_t i) const {
  const ConstantPtr known = constant(i);
  if (!known) return std::nullopt;
  return known->as_ints();
}

Status InferContext::set(std::size_t output, DataType dtype, std::optional<Shape> shape) {
  if (!has_output(output)) return {};
  Value& value = graph_.value(node().outputs[output]);
  if (dtype != DataType::Undefined) {
    if (value.dtype == DataType::Undefined) value.dtype = dtype;
    if (value.dtype != dtype) {
      return {Code::InvalidArgument,
              format("output %zu is declared %s but is %s", output, to_string(value.dtype).data(),
                     to_string(dtype).data())};
    }
  }
  if (!shape) return {};
  if (!value.shape) {
    value.shape = std::move(shape);
  } else if (!merge(*shape, *value.shape)) {
    return {Code::InvalidArgument,
            format("output %zu is declared %s but is %s", output,
                   show(value.dtype, *value.shape).c_str(), show(value.dtype, *shape).c_str())};
  }
  if (value.dtype == DataType::Undefined || !is_concrete(*value.shape)) return {};
  return byte_count(value.dtype, *value.shape).status();
}

Status InferContext::set_constant(std::size_t output, ConstantPtr constant) {
  if (!has_output(output)) return {};
  if (Status status = set(output, constant->type.dtype, constant->type.shape); !status.ok()) {
    return status;
  }
  graph_.value(node().outputs[output]).constant = std::move(constant);
  return {};
}

const Value* LowerContext::input(std::size_t i) const {
  return has_input(i) ? &source_.value(node().inputs[i]) : nullptr;
}

bool LowerContext::has_input(std::size_t i) const {
  return i < node().inputs.size() && node().inputs[i] != kNoValue;
}

bool LowerContext::has_output(std::size_t i) const {
  return i < node().outputs.size() && node().outputs[i] != kNoValue;
}

ValueId LowerContext::in(std::size_t i) const {
  if (!has_input(i)) return kNoValue;
  const ValueId id = node().inputs[i];
  if (map_[id] == kNoValue) {
    // Constants come into the target with the first kernel that reads them.
    const Value& value = source_.value(id);
    map_[id] = value.constant ? target_.add_constant(value.constant, value.name)
                              : target_.add_value(value.name, value.dtype, value.shape);
  }
  return map_[id];
}

const Shape& LowerContext::shape(std::size_t i) const {
  const Value* value = input(i);
  return value != nullptr && value->shape ? *value->shape : kNoShape;
}

DataType LowerContext::dtype(std::size_t i) const {
  const Value* value = input(i);
  return value != nullptr ? value->dtype : DataType::Undefined;
}

const Shape& LowerContext::out_shape(std::size_t i) const {
  if (!has_output(i)) return kNoShape;
  const std::optional<Shape>& shape = source_.value(node().outputs[i]).shape;
  return shape ? *shape : kNoShape;
}

DataType LowerContext::out_dtype(std::size_t i) const {
  return has_output(i) ? source_.value(node().outputs[i]).dtype : DataType::Undefined;
}

ConstantPtr LowerContext::constant(std::size_t i) const {
  const Value* value = input(i);
  return value != nullptr ? value->constant : nullptr;
}

std::optional<std::vector<std::int64_t>> LowerContext::ints(std::size_t i) const {
  const ConstantPtr known = constant(i);
  if (!known) return std::nullopt;
  return known->as_ints();
}

Shape LowerContext::shape_of(ValueId value) const {
  return value == kNoValue ? kNoShape : *target_.value(value).shape;
}

DataType LowerContext::dtype_of(ValueId value) const {
  return value == kNoValue ? DataType::Undefined : target_.value(value).dtype;
}

ValueId LowerContext::emit(std::string_view op, KernelAttrsPtr attrs, std::vector<ValueId> inputs,
                           DataType dtype, Shape shape) {
  return emit_many(op, std::move(attrs), std::move(inputs), {{dtype, std::move(shape)}})[0];
}

std::vector<ValueId> LowerContext::emit_many(std::string_view op, KernelAttrsPtr attrs,
                                             std::vector<ValueId> inputs,
                                             std::vector<TensorType> outputs) {
  const auto check_rank = [&](const Shape& shape) {
    if (shape.size() <= MINIINFER_MAX_RANK) return;
    fail({Code::Unsupported,
          format("a tensor of rank %zu; the most is %d", shape.size(), MINIINFER_MAX_RANK)});
  };
  for (const ValueId input : inputs) check_rank(shape_of(input));
  Node kernel;
  kernel.op = op;
  kernel.kernel = std::move(attrs);
  kernel.inputs = std::move(inputs);
  kernel.origin = node().origin;
  for (TensorType& type : outputs) {
    check_rank(type.shape);
    kernel.outputs.push_back(target_.add_value({}, type.dtype, std::move(type.shape)));
  }
  std::vector<ValueId> values = kernel.outputs;
  target_.add_node(std::move(kernel));
  return values;
}

ValueId LowerContext::view(ValueId value, Shape shape) {
  return view_as(value, dtype_of(value), std::move(shape));
}

ValueId LowerContext::view_as(ValueId value, DataType dtype, Shape shape) {
  if (dtype_of(value) == dtype && shape_of(value) == shape) return value;
  Node view;
  view.op = "view";
  view.inputs = {value};
  view.origin = node().origin;
  const ValueId output = target_.add_value({}, dtype, std::move(shape));
  view.outputs = {output};
  target_.add_node(std::move(view));
  return output;
}

ValueId LowerContext::constant_value(ConstantPtr constant) {
  return target_.add_constant(std::move(constant));
}

void LowerContext::set_output(std::size_t i, ValueId value) {
  if (!has_output(i)) return;
  const Value& wanted = source_.value(node().outputs[i]);
  Value& given = target_.value(value);
  Shape known = *wanted.shape;  // sizes that depend on data are -1
  if (given.dtype != wanted.dtype || !merge(*given.shape, known)) {
    fail({Code::Internal, format("output %zu was inferred as %s and lowered to %s", i,
                                 show(wanted.dtype, *wanted.shape).c_str(),
                                 show(given.dtype, *given.shape).c_str())});
    return;
  }
  if (given.name.empty()) given.name = wanted.name;
  map_[node().outputs[i]] = value;
}

void LowerContext::fail(Status status) {
  if (status_.ok()) status_ = std::move(status);
}

}  // namespace miniinfer
