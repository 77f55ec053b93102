// Operators of one tensor, element by element.

#include <cmath>
#include <limits>

#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"

namespace miniinfer {
namespace {

using Reg = Formula::Reg;

template <TypeRule kRule>
Status infer_unary(InferContext& context) {
  if (Status status = check_type(context, 0, kRule); !status.ok()) return status;
  return infer_same(context);
}

Status infer_test(InferContext& context) {
  if (Status status = check_type(context, 0, TypeRule::Float); !status.ok()) return status;
  return context.set(0, DataType::Bool, context.shape(0));
}

template <std::uint16_t kOpcode>
Status lower_unary(LowerContext& context) {
  context.set_output(0, emit_unary(context, kOpcode, context.in(0)));
  return {};
}

// A formula is computed in a float type, float32 at least.
template <Reg (*kFormula)(Formula&, const Attributes&)>
Status lower_formula(LowerContext& context) {
  const DataType dtype = context.dtype(0);
  const DataType compute = is_float(dtype) ? formula_type(dtype) : DataType::Float32;
  Formula f(context, {context.in(0)}, compute);
  const Reg result = kFormula(f, context.attributes());
  context.set_output(0, f.finish(result, dtype, context.out_shape(0)));
  return {};
}

Reg clamp(Formula& f, Reg x, double low, double high) {
  return f.op(MINIINFER_PW_MIN, f.op(MINIINFER_PW_MAX, x, f.number(low)), f.number(high));
}

Reg below_zero(Formula& f) { return f.op(MINIINFER_PW_LESS, f.in(0), f.number(0)); }

Reg leaky_relu(Formula& f, const Attributes& attributes) {
  const Reg scaled =
      f.op(MINIINFER_PW_MUL, f.in(0), f.number(attributes.get_float("alpha", 0.01f)));
  return f.op(MINIINFER_PW_SELECT, below_zero(f), scaled, f.in(0));
}

// alpha * (exp(x / divisor) - 1)
Reg scaled_exp_minus_one(Formula& f, double alpha, double divisor) {
  const Reg x = divisor == 1 ? f.in(0) : f.op(MINIINFER_PW_DIV, f.in(0), f.number(divisor));
  const Reg grown = f.op(MINIINFER_PW_SUB, f.op(MINIINFER_PW_EXP, x), f.number(1));
  return f.op(MINIINFER_PW_MUL, grown, f.number(alpha));
}

Reg elu(Formula& f, const Attributes& attributes) {
  const Reg low = scaled_exp_minus_one(f, attributes.get_float("alpha", 1), 1);
  return f.op(MINIINFER_PW_SELECT, below_zero(f), low, f.in(0));
}

Reg selu(Formula& f, const Attributes& attributes) {
  const double gamma = attributes.get_float("gamma", 1.05070102214813232421875f);
  const double alpha = attributes.get_float("alpha", 1.67326319217681884765625f);
  const Reg low = scaled_exp_minus_one(f, alpha, 1);
  const Reg value = f.op(MINIINFER_PW_SELECT, below_zero(f), low, f.in(0));
  return f.op(MINIINFER_PW_MUL, value, f.number(gamma));
}

Reg celu(Formula& f, const Attributes& attributes) {
  const double alpha = attributes.get_float("alpha", 1);
  const Reg low = f.op(MINIINFER_PW_MIN, f.number(0), scaled_exp_minus_one(f, alpha, alpha));
  return f.op(MINIINFER_PW_ADD, f.op(MINIINFER_PW_MAX, f.in(0), f.number(0)), low);
}

Reg thresholded_relu(Formula& f, const Attributes& attributes) {
  const Reg threshold = f.number(attributes.get_float("alpha", 1));
  return f.op(MINIINFER_PW_SELECT, f.op(MINIINFER_PW_LESS, threshold, f.in(0)), f.in(0),
              f.number(0));
}

Reg line_between_zero_and_one(Formula& f, double slope, double offset) {
  const Reg line =
      f.op(MINIINFER_PW_ADD, f.op(MINIINFER_PW_MUL, f.in(0), f.number(slope)), f.number(offset));
  return clamp(f, line, 0, 1);
}

Reg hard_sigmoid(Formula& f, const Attributes& attributes) {
  return line_between_zero_and_one(f, attributes.get_float("alpha", 0.2f),
                                   attributes.get_float("beta", 0.5f));
}

Reg hard_swish(Formula& f, const Attributes&) {
  return f.op(MINIINFER_PW_MUL, f.in(0), line_between_zero_and_one(f, 1.0 / 6, 0.5));
}

Reg mish(Formula& f, const Attributes&) {
  const Reg gate = f.op(MINIINFER_PW_TANH, f.op(MINIINFER_PW_SOFTPLUS, f.in(0)));
  return f.op(MINIINFER_PW_MUL, f.in(0), gate);
}

Reg swish_by(Formula& f, float alpha) {
  const Reg x = alpha == 1 ? f.in(0) : f.op(MINIINFER_PW_MUL, f.in(0), f.number(alpha));
  return f.op(MINIINFER_PW_MUL, f.in(0), f.op(MINIINFER_PW_SIGMOID, x));
}

Reg swish(Formula& f, const Attributes& attributes) {
  return swish_by(f, attributes.get_float("alpha", 1));
}

Reg quick_gelu(Formula& f, const Attributes& attributes) {
  return swish_by(f, attributes.get_float("alpha", 1.702f));
}

Reg softsign(Formula& f, const Attributes&) {
  const Reg below = f.op(MINIINFER_PW_ADD, f.op(MINIINFER_PW_ABS, f.in(0)), f.number(1));
  return f.op(MINIINFER_PW_DIV, f.in(0), below);
}

// 0.5 x (1 + gate)
Reg gelu_with(Formula& f, Reg gate) {
  const Reg half = f.op(MINIINFER_PW_MUL, f.in(0), f.number(0.5));
  return f.op(MINIINFER_PW_MUL, half, f.op(MINIINFER_PW_ADD, gate, f.number(1)));
}

Reg gelu(Formula& f, const Attributes& attributes) {
  if (attributes.get_string("approximate", "none") != "tanh") {
    const Reg x = f.op(MINIINFER_PW_MUL, f.in(0), f.number(std::sqrt(0.5)));
    return gelu_with(f, f.op(MINIINFER_PW_ERF, x));
  }
  constexpr double kPi = 3.14159265358979323846;
  const Reg cube = f.op(MINIINFER_PW_MUL, f.op(MINIINFER_PW_MUL, f.in(0), f.in(0)), f.in(0));
  const Reg sum = f.op(MINIINFER_PW_ADD, f.in(0), f.op(MINIINFER_PW_MUL, cube, f.number(0.044715)));
  const Reg x = f.op(MINIINFER_PW_MUL, sum, f.number(std::sqrt(2 / kPi)));
  return gelu_with(f, f.op(MINIINFER_PW_TANH, x));
}

Reg shrink(Formula& f, const Attributes& attributes) {
  const double bias = attributes.get_float("bias", 0);
  const double lambd = attributes.get_float("lambd", 0.5f);
  const Reg up = f.op(MINIINFER_PW_ADD, f.in(0), f.number(bias));
  const Reg down = f.op(MINIINFER_PW_SUB, f.in(0), f.number(bias));
  const Reg is_low = f.op(MINIINFER_PW_LESS, f.in(0), f.number(-lambd));
  const Reg is_high = f.op(MINIINFER_PW_LESS, f.number(lambd), f.in(0));
  return f.op(MINIINFER_PW_SELECT, is_low, up,
              f.op(MINIINFER_PW_SELECT, is_high, down, f.number(0)));
}

Reg erf(Formula& f, const Attributes&) { return f.op(MINIINFER_PW_ERF, f.in(0)); }

Status lower_relu(LowerContext& context) {
  context.set_output(0, emit_scalar(context, MINIINFER_PW_MAX, context.in(0), 0));
  return {};
}

Status lower_is_inf(LowerContext& context) {
  const bool negative = context.attributes().get_int("detect_negative", 1) != 0;
  const bool positive = context.attributes().get_int("detect_positive", 1) != 0;
  const Shape& shape = context.out_shape(0);
  if (!negative && !positive) {
    context.set_output(0, emit_filled(context, make_constant_scalar(DataType::Bool, 0), shape));
    return {};
  }
  const double infinity = std::numeric_limits<double>::infinity();
  Formula f(context, {context.in(0)}, context.dtype(0));
  const Reg x = negative && positive ? f.op(MINIINFER_PW_ABS, f.in(0)) : f.in(0);
  const Reg wanted = f.number(positive ? infinity : -infinity);
  context.set_output(0, f.finish(f.op(MINIINFER_PW_EQUAL, x, wanted), DataType::Bool, shape));
  return {};
}

// Bounds are one element each, either may be left out; where they cross the upper one wins.
Status infer_clip(InferContext& context) {
  if (Status status = check_type(context, 0, TypeRule::Numeric); !status.ok()) return status;
  for (std::size_t i = 1; i < 3; ++i) {
    const std::optional<Shape>& shape = context.shape(i);
    if (is_concrete(shape) && (shape->size() > 1 || product(*shape, 0, shape->size()) != 1)) {
      return invalid("bound %zu has shape %s; it is one number", i, to_string(*shape).c_str());
    }
  }
  return infer_same(context);
}

Status lower_clip(LowerContext& context) {
  std::vector<ValueId> inputs = {context.in(0)};
  std::vector<std::uint16_t> opcodes;
  constexpr std::uint16_t kOpcodes[] = {MINIINFER_PW_MAX, MINIINFER_PW_MIN};
  for (std::size_t i = 1; i < 3; ++i) {
    if (!context.has_input(i)) continue;
    inputs.push_back(context.view(context.in(i), {}));
    opcodes.push_back(kOpcodes[i - 1]);
  }
  if (opcodes.empty()) {
    context.set_output(0, inputs[0]);
    return {};
  }
  Formula f(context, std::move(inputs), context.dtype(0));
  Reg result = f.in(0);
  for (std::size_t i = 0; i < opcodes.size(); ++i) {
    result = f.op(opcodes[i], result, f.in(i + 1));
  }
  context.set_output(0, f.finish(result, context.dtype(0), context.out_shape(0)));
  return {};
}

Status upgrade_clip(UpgradeContext& context) {
  if (context.opset < 11) {
    float_to_input(context, "min", 1);
    float_to_input(context, "max", 2);
  }
  return drop_consumed_inputs(context);
}

// Only the slope broadcasts.
Status infer_prelu(InferContext& context) {
  if (Status status = check_type(context, 0, TypeRule::Numeric); !status.ok()) return status;
  if (Result<DataType> type = common_type(context, 0, 2); !type) return type.status();
  Result<std::optional<Shape>> shape = common_shape(context, 0, 2);
  if (!shape) return shape.status();
  if (is_concrete(context.shape(0)) && is_concrete(*shape) && *shape != context.shape(0)) {
    return invalid("the slope %s does not broadcast to %s", to_string(*context.shape(1)).c_str(),
                   to_string(*context.shape(0)).c_str());
  }
  return infer_same(context);
}

Status lower_prelu(LowerContext& context) {
  const DataType dtype = context.dtype(0);
  Formula f(context, {context.in(0), context.in(1)}, formula_type(dtype));
  const Reg scaled = f.op(MINIINFER_PW_MUL, f.in(0), f.in(1));
  const Reg result = f.op(MINIINFER_PW_SELECT, below_zero(f), scaled, f.in(0));
  context.set_output(0, f.finish(result, dtype, context.out_shape(0)));
  return {};
}

// Before opset 7 the slope was one number or one for each channel.
Status upgrade_prelu(UpgradeContext& context) {
  if (context.opset < 7) align_input(context, 1, 1);
  return drop_consumed_inputs(context);
}

Status upgrade_selu(UpgradeContext& context) {
  if (context.opset < 6) {
    Attributes& attributes = context.node.attributes;
    if (attributes.find("alpha") == nullptr) attributes.set("alpha", 1.6732f);
    if (attributes.find("gamma") == nullptr) attributes.set("gamma", 1.0507f);
  }
  return drop_consumed_inputs(context);
}

Operator unary(std::string_view name, std::int64_t since, Status (*infer)(InferContext&),
               Status (*lower)(LowerContext&), std::vector<AttributeSpec> attributes = {},
               Status (*upgrade)(UpgradeContext&) = drop_consumed_inputs) {
  Operator op;
  op.name = name;
  op.since = since;
  op.min_inputs = op.max_inputs = 1;
  op.attributes = std::move(attributes);
  op.infer = infer;
  op.lower = lower;
  op.upgrade = upgrade;
  return op;
}

constexpr auto kNumeric = infer_unary<TypeRule::Numeric>;
constexpr auto kFloat = infer_unary<TypeRule::Float>;
constexpr AttributeSpec::Type kNumber = AttributeSpec::Float;

const Operator kTable[] = {
    unary("Neg", 1, kNumeric, lower_unary<MINIINFER_PW_NEG>),
    unary("Abs", 1, kNumeric, lower_unary<MINIINFER_PW_ABS>),
    unary("Sign", 9, kNumeric, lower_unary<MINIINFER_PW_SIGN>),
    unary("Sqrt", 1, kFloat, lower_unary<MINIINFER_PW_SQRT>),
    unary("Reciprocal", 1, kFloat, lower_unary<MINIINFER_PW_RECIPROCAL>),
    unary("Exp", 1, kFloat, lower_unary<MINIINFER_PW_EXP>),
    unary("Log", 1, kFloat, lower_unary<MINIINFER_PW_LOG>),
    unary("Sin", 7, kFloat, lower_unary<MINIINFER_PW_SIN>),
    unary("Cos", 7, kFloat, lower_unary<MINIINFER_PW_COS>),
    unary("Tan", 7, kFloat, lower_unary<MINIINFER_PW_TAN>),
    unary("Asin", 7, kFloat, lower_unary<MINIINFER_PW_ASIN>),
    unary("Acos", 7, kFloat, lower_unary<MINIINFER_PW_ACOS>),
    unary("Atan", 7, kFloat, lower_unary<MINIINFER_PW_ATAN>),
    unary("Sinh", 9, kFloat, lower_unary<MINIINFER_PW_SINH>),
    unary("Cosh", 9, kFloat, lower_unary<MINIINFER_PW_COSH>),
    unary("Tanh", 1, kFloat, lower_unary<MINIINFER_PW_TANH>),
    unary("Asinh", 9, kFloat, lower_unary<MINIINFER_PW_ASINH>),
    unary("Acosh", 9, kFloat, lower_unary<MINIINFER_PW_ACOSH>),
    unary("Atanh", 9, kFloat, lower_unary<MINIINFER_PW_ATANH>),
    unary("Erf", 9, kNumeric, lower_formula<erf>),
    unary("Sigmoid", 1, kFloat, lower_unary<MINIINFER_PW_SIGMOID>),
    unary("Softplus", 1, kFloat, lower_unary<MINIINFER_PW_SOFTPLUS>),
    unary("Floor", 1, kFloat, lower_unary<MINIINFER_PW_FLOOR>),
    unary("Ceil", 1, kFloat, lower_unary<MINIINFER_PW_CEIL>),
    unary("Round", 11, kFloat, lower_unary<MINIINFER_PW_ROUND>),
    unary("Not", 1, infer_unary<TypeRule::Boolean>, lower_unary<MINIINFER_PW_NOT>),
    unary("BitwiseNot", 18, infer_unary<TypeRule::Integer>, lower_unary<MINIINFER_PW_BIT_NOT>),
    unary("IsNaN", 9, infer_test, lower_unary<MINIINFER_PW_IS_NAN>),
    unary("IsInf", 10, infer_test, lower_is_inf,
          {{"detect_negative", AttributeSpec::Int}, {"detect_positive", AttributeSpec::Int}}),
    unary("Relu", 1, kNumeric, lower_relu),
    unary("LeakyRelu", 1, kFloat, lower_formula<leaky_relu>, {{"alpha", kNumber}}),
    unary("Elu", 1, kFloat, lower_formula<elu>, {{"alpha", kNumber}}),
    unary("Selu", 1, kFloat, lower_formula<selu>, {{"alpha", kNumber}, {"gamma", kNumber}},
          upgrade_selu),
    unary("Celu", 12, kFloat, lower_formula<celu>, {{"alpha", kNumber}}),
    unary("ThresholdedRelu", 10, kFloat, lower_formula<thresholded_relu>, {{"alpha", kNumber}}),
    unary("HardSigmoid", 1, kFloat, lower_formula<hard_sigmoid>,
          {{"alpha", kNumber}, {"beta", kNumber}}),
    unary("HardSwish", 14, kFloat, lower_formula<hard_swish>),
    unary("Mish", 18, kFloat, lower_formula<mish>),
    unary("Swish", 24, kFloat, lower_formula<swish>, {{"alpha", kNumber}}),
    unary("Softsign", 1, kFloat, lower_formula<softsign>),
    unary("Gelu", 20, kFloat, lower_formula<gelu>, {{"approximate", AttributeSpec::String}}),
    unary("com.microsoft.Gelu", 1, kFloat, lower_formula<gelu>),
    unary("com.microsoft.QuickGelu", 1, kFloat, lower_formula<quick_gelu>, {{"alpha", kNumber}}),
    unary("Shrink", 9, kNumeric, lower_formula<shrink>, {{"bias", kNumber}, {"lambd", kNumber}}),
    {.name = "Clip",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 3,
     .attributes = {},
     .infer = infer_clip,
     .lower = lower_clip,
     .upgrade = upgrade_clip},
    {.name = "PRelu",
     .since = 1,
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {},
     .infer = infer_prelu,
     .lower = lower_prelu,
     .upgrade = upgrade_prelu},
};

}  // namespace

const OperatorTable kActivationOperators = kTable;

}  // namespace miniinfer
