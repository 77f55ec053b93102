// Normalisations. softmax/1 and layer_norm/1 are kernels of their own; the others are made of
// reductions and pointwise programs.

#include <algorithm>
#include <numeric>

#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"
#include "core/ops/lowering_reduce.hpp"
#include "miniinfer/abi/op/norm.h"

namespace miniinfer {
namespace {

Status infer_softmax(InferContext& context) {
  if (Status status = check_type(context, 0, TypeRule::Float); !status.ok()) return status;
  if (context.shape(0) && !context.shape(0)->empty()) {
    Result<std::int64_t> axis =
        normalise_axis(context.attributes().get_int("axis", -1), context.shape(0)->size());
    if (!axis) return axis.status();
  }
  return infer_same(context);
}

// The one place along the axis that has the (first) maximum gets 1.
ValueId emit_hardmax(LowerContext& context, ValueId x, std::size_t axis) {
  const Shape shape = context.shape_of(x);
  const ValueId best =
      emit_reduce(context, MINIINFER_REDUCE_ARGMAX, x, {static_cast<std::int64_t>(axis)});
  Shape line(shape.size(), 1);
  line[axis] = shape[axis];
  const ValueId positions = emit_positions(context, 0, 1, line);
  PointwiseBuilder program(2);
  const auto equal =
      program.emit(MINIINFER_PW_EQUAL, DataType::Int64, program.input(0), program.input(1));
  const DataType dtype = context.dtype_of(x);
  const auto value = program.emit(MINIINFER_PW_CAST, dtype, equal);
  return emit_pointwise(context, program.finish({value}), {best, positions}, dtype, shape);
}

Status lower_softmax(LowerContext& context) {
  const Shape& in = context.shape(0);
  ValueId x = context.in(0);
  if (in.empty()) x = context.view(x, {1});
  Result<std::int64_t> axis =
      normalise_axis(context.attributes().get_int("axis", -1), std::max<std::size_t>(in.size(), 1));
  if (!axis) return axis.status();
  const auto at = static_cast<std::size_t>(*axis);
  const std::string& op = context.node().op;
  const ValueId made = op == "Hardmax" ? emit_hardmax(context, x, at)
                                       : emit_softmax(context, x, at, op == "LogSoftmax");
  context.set_output(0, context.view(made, in));
  return {};
}

// Before opset 13 all axes from `axis` on were one. That takes two reshapes around the node, whose
// targets follow from the input's shape: Flatten before, Reshape by Shape after.
Status upgrade_softmax(UpgradeContext& context) {
  if (context.opset >= 13) return {};
  Attributes& attributes = context.node.attributes;
  const std::int64_t axis = attributes.get_int("axis", 1);
  const ValueId x = context.node.inputs[0];
  const std::optional<Shape>& shape = context.graph.value(x).shape;
  const bool last = axis == -1 || (shape && axis == static_cast<std::int64_t>(shape->size()) - 1);
  attributes.set("axis", std::int64_t{-1});
  if (last) return {};
  const auto add = [&](std::string op, std::vector<ValueId> inputs, Attributes with = {}) {
    Node node;
    node.op = std::move(op);
    node.inputs = std::move(inputs);
    node.attributes = std::move(with);
    node.origin = context.node.origin;
    node.outputs = {context.graph.add_value(context.graph.value(x).name)};
    const ValueId made = node.outputs[0];
    context.graph.add_node(std::move(node));
    return made;
  };
  Attributes flatten;
  flatten.set("axis", axis);
  const ValueId flat = add("Flatten", {x}, flatten);
  const ValueId sizes = add("Shape", {x});
  const ValueId normal = add(context.node.op, {flat}, attributes);
  // The node itself becomes the reshape back.
  context.node.op = "Reshape";
  context.node.attributes = {};
  context.node.inputs = {normal, sizes};
  return {};
}

// LayerNormalization and RMSNormalization: over the axes from `axis` on.
Status infer_layer_norm(InferContext& context) {
  if (Status status = check_type(context, 0, TypeRule::Float); !status.ok()) return status;
  // An RMSNormalization's result has its scale's type.
  const bool rms = context.node().op == "RMSNormalization";
  if (Status status = context.set(0, context.dtype(rms ? 1 : 0), context.shape(0)); !status.ok()) {
    return status;
  }
  const auto stash = static_cast<DataType>(context.attributes().get_int("stash_type", 1));
  std::optional<Shape> kept;
  if (context.shape(0)) {
    Result<std::int64_t> axis =
        normalise_axis(context.attributes().get_int("axis", -1), context.shape(0)->size());
    if (!axis) return axis.status();
    kept = context.shape(0);
    std::fill(kept->begin() + *axis, kept->end(), 1);
  }
  if (Status status = context.set(1, stash, kept); !status.ok()) return status;
  return context.set(2, stash, std::move(kept));
}

Status lower_layer_norm(LowerContext& context) {
  const bool rms = context.node().op == "RMSNormalization";
  const Shape& in = context.shape(0);
  const DataType dtype = context.dtype(0);
  Result<std::int64_t> first = normalise_axis(context.attributes().get_int("axis", -1), in.size());
  if (!first) return first.status();
  const auto axis = static_cast<std::size_t>(*first);
  const auto stash = static_cast<DataType>(context.attributes().get_int("stash_type", 1));
  const double epsilon = context.attributes().get_float("epsilon", 1e-5f);
  const Shape inner(in.begin() + *first, in.end());

  const bool simple_scale = context.shape(1) == inner &&
                            (!context.has_input(2) || context.shape(2) == inner) &&
                            context.dtype(1) == dtype;
  const bool plain = simple_scale && !context.has_output(1) && !context.has_output(2) &&
                     (stash == DataType::Float32 || stash == dtype);
  if (plain) {
    const Shape flat = {product(in, 0, axis), product(in, axis, in.size())};
    miniinfer_layer_norm_attrs attrs{};
    attrs.axis = 1;
    attrs.rms = rms ? 1 : 0;
    attrs.epsilon = epsilon;
    std::vector<ValueId> inputs = {context.view(context.in(0), flat),
                                   context.view(context.in(1), {flat[1]})};
    if (context.has_input(2)) inputs.push_back(context.view(context.in(2), {flat[1]}));
    const ValueId made = context.emit(MINIINFER_LAYER_NORM, make_attrs(attrs), inputs, dtype, flat);
    context.set_output(0, context.view(made, in));
    return {};
  }

  // The general form: scale and bias that broadcast, mean and deviation as outputs.
  std::vector<std::int64_t> axes(in.size() - axis);
  std::iota(axes.begin(), axes.end(), *first);
  const ValueId x = emit_cast(context, context.in(0), stash);
  ValueId centred = x;
  if (!rms) {
    const ValueId mean = emit_reduce(context, MINIINFER_REDUCE_MEAN, x, axes);
    centred = emit_binary(context, MINIINFER_PW_SUB, x, mean);
    if (context.has_output(1)) context.set_output(1, context.view(mean, context.out_shape(1)));
  }
  const ValueId variance =
      emit_reduce(context, MINIINFER_REDUCE_MEAN,
                  emit_binary(context, MINIINFER_PW_MUL, centred, centred), axes);
  const ValueId inverse =
      emit_unary(context, MINIINFER_PW_RECIPROCAL,
                 emit_unary(context, MINIINFER_PW_SQRT,
                            emit_scalar(context, MINIINFER_PW_ADD, variance, epsilon)));
  if (context.has_output(2)) context.set_output(2, context.view(inverse, context.out_shape(2)));
  ValueId y = emit_cast(context, emit_binary(context, MINIINFER_PW_MUL, centred, inverse),
                        context.dtype(1));
  y = emit_binary(context, MINIINFER_PW_MUL, y, context.in(1));
  if (context.has_input(2)) y = emit_binary(context, MINIINFER_PW_ADD, y, context.in(2));
  context.set_output(0, emit_cast(context, y, context.out_dtype(0)));
  return {};
}

// (x - mean) / (sqrt(var + epsilon) + after_root) over `axes`, in the type of x.
ValueId emit_standardise(LowerContext& context, ValueId x, const std::vector<std::int64_t>& axes,
                         double epsilon, double after_root = 0) {
  const ValueId mean = emit_reduce(context, MINIINFER_REDUCE_MEAN, x, axes);
  const ValueId centred = emit_binary(context, MINIINFER_PW_SUB, x, mean);
  ValueId deviation = emit_reduce(context, MINIINFER_REDUCE_MEAN,
                                  emit_binary(context, MINIINFER_PW_MUL, centred, centred), axes);
  if (epsilon != 0) deviation = emit_scalar(context, MINIINFER_PW_ADD, deviation, epsilon);
  deviation = emit_unary(context, MINIINFER_PW_SQRT, deviation);
  if (after_root != 0) deviation = emit_scalar(context, MINIINFER_PW_ADD, deviation, after_root);
  return emit_binary(context, MINIINFER_PW_DIV, centred, deviation);
}

// Output 0 = y * scale + bias, each of which has one number a channel (axis 1), in the type of y.
void set_scaled_output(LowerContext& context, ValueId y, ValueId scale, ValueId bias) {
  const Shape& shape = context.out_shape(0);
  Shape channel(shape.size(), 1);
  channel[1] = shape[1];
  Formula f(context, {y, context.view(scale, channel), context.view(bias, channel)},
            context.dtype_of(y));
  const auto scaled = f.op(MINIINFER_PW_MUL, f.in(0), f.in(1));
  context.set_output(0, f.finish(f.op(MINIINFER_PW_ADD, scaled, f.in(2)), context.dtype(0), shape));
}

Status lower_instance_norm(LowerContext& context) {
  const Shape& in = context.shape(0);
  if (in.size() < 3) return invalid("the input %s is not [N,C,..]", to_string(in).c_str());
  const DataType compute = formula_type(context.dtype(0));
  std::vector<std::int64_t> axes(in.size() - 2);
  std::iota(axes.begin(), axes.end(), 2);
  const double epsilon = context.attributes().get_float("epsilon", 1e-5f);
  const ValueId y =
      emit_standardise(context, emit_cast(context, context.in(0), compute), axes, epsilon);
  set_scaled_output(context, y, context.in(1), context.in(2));
  return {};
}

Status lower_group_norm(LowerContext& context) {
  const Shape& in = context.shape(0);
  const std::int64_t groups = context.attributes().get_int("num_groups", 0);
  if (in.size() < 3 || groups < 1 || in[1] % groups != 0) {
    return invalid("%lld groups of %s", static_cast<long long>(groups), to_string(in).c_str());
  }
  const DataType compute = formula_type(context.dtype(0));
  const Shape grouped = {in[0], groups, product(in, 1, in.size()) / groups};
  const double epsilon = context.attributes().get_float("epsilon", 1e-5f);
  const ValueId x = context.view(emit_cast(context, context.in(0), compute), grouped);
  const ValueId y = context.view(emit_standardise(context, x, {2}, epsilon), in);
  // Opset 18 has one scale and bias for a group; spread them over its channels.
  const auto of_channels = [&](std::size_t i) {
    const ValueId given = context.in(i);
    const std::int64_t size = context.shape(i).empty() ? 1 : context.shape(i)[0];
    if (size == in[1]) return given;
    return emit_expand(context, context.view(given, {groups, 1}), {groups, in[1] / groups});
  };
  set_scaled_output(context, y, of_channels(1), of_channels(2));
  return {};
}

Status lower_lp_normalization(LowerContext& context) {
  const Shape& in = context.shape(0);
  Result<std::int64_t> axis = normalise_axis(context.attributes().get_int("axis", -1), in.size());
  if (!axis) return axis.status();
  const DataType compute = formula_type(context.dtype(0));
  const ValueId x = emit_cast(context, context.in(0), compute);
  const bool first_power = context.attributes().get_int("p", 2) == 1;
  ValueId size = first_power ? emit_unary(context, MINIINFER_PW_ABS, x)
                             : emit_binary(context, MINIINFER_PW_MUL, x, x);
  size = emit_reduce(context, MINIINFER_REDUCE_SUM, size, {*axis});
  if (!first_power) size = emit_unary(context, MINIINFER_PW_SQRT, size);
  // A vector of zeros stays zeros.
  Formula f(context, {x, size}, compute);
  const auto zero = f.op(MINIINFER_PW_EQUAL, f.in(1), f.number(0));
  const auto quotient = f.op(MINIINFER_PW_DIV, f.in(0), f.in(1));
  context.set_output(
      0, f.finish(f.op(MINIINFER_PW_SELECT, zero, f.number(0), quotient), context.dtype(0), in));
  return {};
}

Status lower_mean_variance(LowerContext& context) {
  const Shape& in = context.shape(0);
  const auto given = context.attributes().get_ints("axes");
  const std::vector<std::int64_t> standard = {0, 2, 3};
  Result<std::vector<std::int64_t>> axes =
      normalise_axes(given ? *given : std::span<const std::int64_t>(standard), in.size());
  if (!axes) return axes.status();
  const DataType compute = formula_type(context.dtype(0));
  const ValueId x = emit_cast(context, context.in(0), compute);
  const ValueId y = emit_standardise(context, x, *axes, 0, 1e-9);
  context.set_output(0, emit_cast(context, y, context.dtype(0)));
  return {};
}

// x / (bias + alpha / size * sum of squares over neighbouring channels)^beta
Status lower_lrn(LowerContext& context) {
  const Shape& in = context.shape(0);
  if (in.size() < 2) return invalid("the input %s is not [N,C,..]", to_string(in).c_str());
  const std::int64_t size = context.attributes().get_int("size", 0);
  if (size < 1 || size > INT32_MAX) return invalid("size is %lld", static_cast<long long>(size));
  const double alpha = context.attributes().get_float("alpha", 1e-4f);
  const double beta = context.attributes().get_float("beta", 0.75f);
  const double bias = context.attributes().get_float("bias", 1);
  const DataType compute = formula_type(context.dtype(0));
  const Shape flat = {in[0], in[1], product(in, 2, in.size())};
  const ValueId x = context.view(emit_cast(context, context.in(0), compute), flat);
  miniinfer_reduce_attrs attrs{};
  attrs.kind = MINIINFER_REDUCE_SUM;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    attrs.window[axis] = axis == 1 ? size : 1;
    attrs.stride[axis] = attrs.dilation[axis] = 1;
  }
  attrs.pad_begin[1] = (size - 1) / 2;
  attrs.pad_end[1] = size - 1 - attrs.pad_begin[1];
  const ValueId squares = emit_binary(context, MINIINFER_PW_MUL, x, x);
  const ValueId sums = context.emit(MINIINFER_REDUCE, make_attrs(attrs), {squares}, compute, flat);
  Formula f(context, {x, sums}, compute);
  const auto scaled = f.op(MINIINFER_PW_MUL, f.in(1), f.number(alpha / static_cast<double>(size)));
  const auto power =
      f.op(MINIINFER_PW_POW, f.op(MINIINFER_PW_ADD, scaled, f.number(bias)), f.number(beta));
  const ValueId y = f.finish(f.op(MINIINFER_PW_DIV, f.in(0), power), context.dtype(0), flat);
  context.set_output(0, context.view(y, in));
  return {};
}

const Operator kTable[] = {
    {.name = "Softmax",
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {{"axis", AttributeSpec::Int}},
     .infer = infer_softmax,
     .lower = lower_softmax,
     .upgrade = upgrade_softmax},
    {.name = "LogSoftmax",
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {{"axis", AttributeSpec::Int}},
     .infer = infer_softmax,
     .lower = lower_softmax,
     .upgrade = upgrade_softmax},
    {.name = "Hardmax",
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {{"axis", AttributeSpec::Int}},
     .infer = infer_softmax,
     .lower = lower_softmax,
     .upgrade = upgrade_softmax},
    {.name = "LayerNormalization",
     .min_inputs = 2,
     .max_inputs = 3,
     .max_outputs = 3,
     .attributes = {{"axis", AttributeSpec::Int},
                    {"epsilon", AttributeSpec::Float},
                    {"stash_type", AttributeSpec::Int}},
     .infer = infer_layer_norm,
     .lower = lower_layer_norm},
    {.name = "RMSNormalization",
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {{"axis", AttributeSpec::Int},
                    {"epsilon", AttributeSpec::Float},
                    {"stash_type", AttributeSpec::Int}},
     .infer = infer_layer_norm,
     .lower = lower_layer_norm},
    {.name = "InstanceNormalization",
     .min_inputs = 3,
     .max_inputs = 3,
     .attributes = {{"epsilon", AttributeSpec::Float}},
     .infer = infer_same,
     .lower = lower_instance_norm,
     .upgrade = drop_consumed_inputs},
    {.name = "GroupNormalization",
     .since = 18,
     .min_inputs = 3,
     .max_inputs = 3,
     .attributes = {{"epsilon", AttributeSpec::Float},
                    {"num_groups", AttributeSpec::Int, true},
                    {"stash_type", AttributeSpec::Int}},
     .infer = infer_same,
     .lower = lower_group_norm},
    {.name = "LpNormalization",
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {{"axis", AttributeSpec::Int}, {"p", AttributeSpec::Int}},
     .infer = infer_same,
     .lower = lower_lp_normalization},
    {.name = "MeanVarianceNormalization",
     .since = 9,
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {{"axes", AttributeSpec::Ints}},
     .infer = infer_same,
     .lower = lower_mean_variance},
    {.name = "LRN",
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {{"alpha", AttributeSpec::Float},
                    {"beta", AttributeSpec::Float},
                    {"bias", AttributeSpec::Float},
                    {"size", AttributeSpec::Int, true}},
     .infer = infer_same,
     .lower = lower_lrn},
};

}  // namespace

const OperatorTable kNormOperators = kTable;

}  // namespace miniinfer
