#include <cmath>

#include "core/base/float16.hpp"
#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"
#include "miniinfer/abi/op/reduce.h"

namespace miniinfer {
namespace {

bool trains(const Attributes& attributes) { return attributes.get_int("training_mode", 0) != 0; }

Status infer_batch_norm(InferContext& context) {
  if (Status status = check_type(context, 0, TypeRule::Float); !status.ok()) return status;
  std::optional<Shape> channels;
  const std::optional<Shape>& in = context.shape(0);
  if (in) {
    // A tensor of rank 1 is taken as samples of one channel.
    channels = Shape{in->size() < 2 ? 1 : (*in)[1]};
    for (std::size_t i = 1; i < 5; ++i) {
      const std::optional<Shape>& shape = context.shape(i);
      if (is_concrete(*channels) && is_concrete(shape) && *shape != *channels) {
        return invalid("input %zu is %s; there are %lld channels", i, to_string(*shape).c_str(),
                       static_cast<long long>((*channels)[0]));
      }
    }
  }
  if (Status status = infer_same(context); !status.ok()) return status;
  for (std::size_t i = 1; i < 3; ++i) {
    if (Status s = context.set(i, context.dtype(i + 2), channels); !s.ok()) return s;
  }
  return {};
}

struct Line {
  ValueId slope, offset;  // [C, 1..], to be applied as x * slope + offset
};

// The statistics and parameters of a channel make a line. It is computed here, in double, where all
// four are constants.
bool constant_line(LowerContext& context, double epsilon, DataType compute, const Shape& shape,
                   Line& line) {
  std::vector<double> values[4];  // scale, B, mean, var
  for (std::size_t i = 0; i < 4; ++i) {
    const ConstantPtr constant = context.constant(i + 1);
    if (!constant) return false;
    values[i] = constant->as_doubles();
  }
  const std::size_t count = values[0].size();
  std::vector<double> slope(count);
  std::vector<double> offset(count);
  for (std::size_t c = 0; c < count; ++c) {
    slope[c] = values[0][c] / std::sqrt(values[3][c] + epsilon);
    offset[c] = values[1][c] - values[2][c] * slope[c];
  }
  const auto make = [&](const std::vector<double>& list) {
    ConstantPtr constant;
    if (compute == DataType::Float64) {
      constant = make_constant({compute, shape}, std::as_bytes(std::span(list)));
    } else {
      const std::vector<float> narrow(list.begin(), list.end());
      constant = make_constant({compute, shape}, std::as_bytes(std::span(narrow)));
    }
    return context.constant_value(std::move(constant));
  };
  line = {make(slope), make(offset)};
  return true;
}

Line computed_line(LowerContext& context, double epsilon, DataType compute, const Shape& shape,
                   ValueId mean, ValueId var) {
  const ValueId scale = context.view(context.in(1), shape);
  Formula s(context, {scale, context.view(var, shape)}, compute);
  const auto spread = s.op(MINIINFER_PW_SQRT, s.op(MINIINFER_PW_ADD, s.in(1), s.number(epsilon)));
  const ValueId slope = s.finish(s.op(MINIINFER_PW_DIV, s.in(0), spread), compute, shape);
  Formula o(context, {context.view(context.in(2), shape), context.view(mean, shape), slope},
            compute);
  const auto shift = o.op(MINIINFER_PW_MUL, o.in(1), o.in(2));
  return {slope, o.finish(o.op(MINIINFER_PW_SUB, o.in(0), shift), compute, shape)};
}

// Over all axes but the channels.
ValueId mean_of(LowerContext& context, ValueId value) {
  const Shape in = context.shape_of(value);
  if (in.size() > MINIINFER_MAX_RANK) {
    context.fail(unsupported("statistics over a tensor of rank %zu", in.size()));
    return value;
  }
  miniinfer_reduce_attrs attrs{};
  attrs.kind = MINIINFER_REDUCE_MEAN;
  Shape out(in.size(), 1);
  for (std::size_t i = 0; i < in.size(); ++i) {
    const bool channel = i == 1;
    attrs.window[i] = channel ? 1 : in[i];
    attrs.stride[i] = attrs.dilation[i] = 1;
    if (channel) out[i] = in[i];
  }
  return context.emit(MINIINFER_REDUCE, make_attrs(attrs), {value}, context.dtype_of(value), out);
}

Status lower_batch_norm(LowerContext& context) {
  const DataType dtype = context.dtype(0);
  const DataType compute = formula_type(dtype);
  const Shape& in = context.shape(0);
  const double epsilon = context.attributes().get_float("epsilon", 1e-5f);
  Shape channels(in.size(), 1);
  if (in.size() > 1) channels[1] = in[1];
  ValueId x = context.in(0);

  Line line{};
  if (trains(context.attributes())) {
    x = emit_cast(context, x, compute);
    const ValueId mean = mean_of(context, x);
    const ValueId distance = emit_binary(context, MINIINFER_PW_SUB, x, mean);
    const ValueId var =
        mean_of(context, emit_binary(context, MINIINFER_PW_MUL, distance, distance));
    line = computed_line(context, epsilon, compute, channels, mean, var);
    const double momentum = context.attributes().get_float("momentum", 0.9f);
    const ValueId current[] = {mean, var};
    for (std::size_t i = 0; i < 2; ++i) {
      if (!context.has_output(i + 1)) continue;
      const Shape& shape = context.out_shape(i + 1);
      Formula f(context, {context.in(i + 3), context.view(current[i], shape)}, compute);
      const auto old = f.op(MINIINFER_PW_MUL, f.in(0), f.number(momentum));
      const auto fresh = f.op(MINIINFER_PW_MUL, f.in(1), f.number(1 - momentum));
      context.set_output(
          i + 1, f.finish(f.op(MINIINFER_PW_ADD, old, fresh), context.out_dtype(i + 1), shape));
    }
  } else {
    if (context.has_output(1) || context.has_output(2)) {
      return unsupported("running statistics outside training_mode");
    }
    if (!constant_line(context, epsilon, compute, channels, line)) {
      line = computed_line(context, epsilon, compute, channels, context.in(3), context.in(4));
    }
  }
  Formula f(context, {x, line.slope, line.offset}, compute);
  const auto scaled = f.op(MINIINFER_PW_MUL, f.in(0), f.in(1));
  context.set_output(0, f.finish(f.op(MINIINFER_PW_ADD, scaled, f.in(2)), dtype, in));
  return {};
}

// Before opset 14 further outputs were those of training.
Status upgrade_batch_norm(UpgradeContext& context) {
  if (context.opset >= 14) return {};
  Attributes& attributes = context.node.attributes;
  if (context.opset < 9 && attributes.get_int("spatial", 1) == 0) {
    return unsupported("statistics for each place (spatial = 0)");
  }
  attributes.erase("spatial");
  attributes.erase("is_test");
  attributes.erase("consumed_inputs");
  if (context.node.outputs.size() > 1) context.node.outputs.resize(1);
  return {};
}

const Operator kTable[] = {
    {.name = "BatchNormalization",
     .since = 1,
     .min_inputs = 5,
     .max_inputs = 5,
     .max_outputs = 3,
     .attributes = {{"epsilon", AttributeSpec::Float},
                    {"momentum", AttributeSpec::Float},
                    {"training_mode", AttributeSpec::Int}},
     .infer = infer_batch_norm,
     .lower = lower_batch_norm,
     .upgrade = upgrade_batch_norm},
};

}  // namespace

const OperatorTable kBatchNormOperators = kTable;

}  // namespace miniinfer
