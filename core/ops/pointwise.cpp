// Operators of several tensors that broadcast, element by element.

#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"

namespace miniinfer {
namespace {

// The most inputs one node of a long sum reads.
constexpr std::size_t kMostOperands = 8;

Status infer_broadcast(InferContext& context, std::size_t first, TypeRule rule, bool compares) {
  const std::size_t count = context.input_count();
  for (std::size_t i = first; i < count; ++i) {
    if (Status status = check_type(context, i, rule); !status.ok()) return status;
  }
  Result<DataType> type = common_type(context, first, count);
  if (!type) return type.status();
  Result<std::optional<Shape>> shape = common_shape(context, 0, count);
  if (!shape) return shape.status();
  return context.set(0, compares ? DataType::Bool : *type, std::move(*shape));
}

template <TypeRule kRule>
Status infer_map(InferContext& context) {
  return infer_broadcast(context, 0, kRule, false);
}

template <TypeRule kRule>
Status infer_compare(InferContext& context) {
  return infer_broadcast(context, 0, kRule, true);
}

Status infer_where(InferContext& context) {
  if (Status status = check_type(context, 0, TypeRule::Boolean); !status.ok()) return status;
  return infer_broadcast(context, 1, TypeRule::Any, false);
}

Status infer_pow(InferContext& context) {
  for (std::size_t i = 0; i < 2; ++i) {
    if (Status s = check_type(context, i, TypeRule::Numeric); !s.ok()) return s;
  }
  Result<std::optional<Shape>> shape = common_shape(context, 0, 2);
  if (!shape) return shape.status();
  return context.set(0, context.dtype(0), std::move(*shape));
}

template <std::uint16_t kOpcode>
Status lower_binary(LowerContext& context) {
  context.set_output(0, emit_binary(context, kOpcode, context.in(0), context.in(1)));
  return {};
}

// a > b is b < a.
template <std::uint16_t kOpcode>
Status lower_swapped(LowerContext& context) {
  context.set_output(0, emit_binary(context, kOpcode, context.in(1), context.in(0)));
  return {};
}

Status lower_mod(LowerContext& context) {
  const bool fmod = context.attributes().get_int("fmod", 0) != 0;
  const std::uint16_t opcode = fmod ? MINIINFER_PW_FMOD : MINIINFER_PW_MOD;
  context.set_output(0, emit_binary(context, opcode, context.in(0), context.in(1)));
  return {};
}

Status lower_pow(LowerContext& context) {
  const DataType base = context.dtype(0);
  DataType compute = formula_type(base);
  // An integer to a fractional power is fractional before it is truncated.
  if (!is_float(base) && is_float(context.dtype(1))) compute = DataType::Float64;
  Formula f(context, {context.in(0), context.in(1)}, compute);
  const auto power = f.op(MINIINFER_PW_POW, f.in(0), f.in(1));
  context.set_output(0, f.finish(power, base, context.out_shape(0)));
  return {};
}

DataType unsigned_of(DataType type) {
  switch (type) {
    case DataType::Int8:
      return DataType::UInt8;
    case DataType::Int16:
      return DataType::UInt16;
    case DataType::Int32:
      return DataType::UInt32;
    case DataType::Int64:
      return DataType::UInt64;
    default:
      return type;
  }
}

// A negative amount is a huge unsigned one, which shifts everything out as it should.
Status lower_bit_shift(LowerContext& context) {
  const std::string_view direction = context.attributes().get_string("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") {
    return invalid("direction is '%.*s'; it is LEFT or RIGHT", static_cast<int>(direction.size()),
                   direction.data());
  }
  const DataType type = context.dtype(0);
  const DataType bits_type = unsigned_of(type);
  const Shape& shape = context.out_shape(0);
  Formula f(context, {context.in(0), context.in(1)}, bits_type);
  if (direction == "LEFT") {
    context.set_output(0, f.finish(f.op(MINIINFER_PW_SHIFT_LEFT, f.in(0), f.in(1)), type, shape));
    return {};
  }
  auto shifted = f.op(MINIINFER_PW_SHIFT_RIGHT, f.in(0), f.in(1));
  if (type != bits_type) {
    // Of a negative number the complement is shifted, so that ones come in.
    const double top = static_cast<double>(std::uint64_t{1} << (bits(type) - 1));
    const auto negative = f.op(MINIINFER_PW_LESS_EQUAL, f.number(top), f.in(0));
    const auto complement = f.op(MINIINFER_PW_BIT_NOT, f.in(0));
    const auto ones =
        f.op(MINIINFER_PW_BIT_NOT, f.op(MINIINFER_PW_SHIFT_RIGHT, complement, f.in(1)));
    shifted = f.op(MINIINFER_PW_SELECT, negative, ones, shifted);
  }
  context.set_output(0, f.finish(shifted, type, shape));
  return {};
}

Status lower_where(LowerContext& context) {
  context.set_output(0, emit_select(context, context.in(0), context.in(1), context.in(2)));
  return {};
}

Status lower_list(LowerContext& context, std::uint16_t opcode, bool mean) {
  std::vector<ValueId> operands;
  for (std::size_t i = 0; i < context.input_count(); ++i) operands.push_back(context.in(i));
  const double count = static_cast<double>(operands.size());
  const DataType dtype = context.out_dtype(0);
  const DataType compute = formula_type(dtype);
  std::vector<ValueId> now;  // what came out before, then further operands
  for (std::size_t next = 0;;) {
    while (now.size() < kMostOperands && next < operands.size()) now.push_back(operands[next++]);
    const bool last = next == operands.size();
    Shape shape;
    for (const ValueId value : now) {
      Result<Shape> next = broadcast(shape, context.shape_of(value));
      if (!next) return next.status();
      shape = std::move(*next);
    }
    Formula f(context, now, compute);
    auto result = f.in(0);
    for (std::size_t i = 1; i < now.size(); ++i) result = f.op(opcode, result, f.in(i));
    if (last && mean) result = f.op(MINIINFER_PW_DIV, result, f.number(count));
    const ValueId value = f.finish(result, last ? dtype : compute, shape);
    if (last) {
      context.set_output(0, value);
      return {};
    }
    now = {value};
  }
}

template <std::uint16_t kOpcode>
Status lower_variadic(LowerContext& context) {
  if (context.input_count() == 1) {
    context.set_output(0, context.in(0));
    return {};
  }
  return lower_list(context, kOpcode, false);
}

Status lower_mean(LowerContext& context) { return lower_list(context, MINIINFER_PW_ADD, true); }

// Before opset 7 the second operand named the axis of the first that its own first axis meets.
Status upgrade_binary(UpgradeContext& context) {
  if (context.opset >= 7) return {};
  Attributes& attributes = context.node.attributes;
  if (attributes.get_int("broadcast", 0) != 0 && attributes.find("axis") != nullptr) {
    align_input(context, 1, attributes.get_int("axis", 0));
  }
  attributes.erase("broadcast");
  attributes.erase("axis");
  return drop_consumed_inputs(context);
}

Operator binary(std::string_view name, std::int64_t since, Status (*infer)(InferContext&),
                Status (*lower)(LowerContext&), std::vector<AttributeSpec> attributes = {}) {
  Operator op;
  op.name = name;
  op.since = since;
  op.min_inputs = op.max_inputs = 2;
  op.attributes = std::move(attributes);
  op.infer = infer;
  op.lower = lower;
  op.upgrade = upgrade_binary;
  return op;
}

Operator variadic(std::string_view name, Status (*infer)(InferContext&),
                  Status (*lower)(LowerContext&)) {
  Operator op;
  op.name = name;
  op.min_inputs = 1;
  op.max_inputs = -1;
  op.infer = infer;
  op.lower = lower;
  op.upgrade = drop_consumed_inputs;
  return op;
}

constexpr TypeRule kNumeric = TypeRule::Numeric;
constexpr TypeRule kInteger = TypeRule::Integer;
constexpr TypeRule kBoolean = TypeRule::Boolean;

const Operator kTable[] = {
    binary("Add", 1, infer_map<kNumeric>, lower_binary<MINIINFER_PW_ADD>),
    binary("Sub", 1, infer_map<kNumeric>, lower_binary<MINIINFER_PW_SUB>),
    binary("Mul", 1, infer_map<kNumeric>, lower_binary<MINIINFER_PW_MUL>),
    binary("Div", 1, infer_map<kNumeric>, lower_binary<MINIINFER_PW_DIV>),
    binary("Mod", 10, infer_map<kNumeric>, lower_mod, {{"fmod", AttributeSpec::Int}}),
    binary("Pow", 1, infer_pow, lower_pow),
    binary("And", 1, infer_map<kBoolean>, lower_binary<MINIINFER_PW_AND>),
    binary("Or", 1, infer_map<kBoolean>, lower_binary<MINIINFER_PW_OR>),
    binary("Xor", 1, infer_map<kBoolean>, lower_binary<MINIINFER_PW_XOR>),
    binary("BitwiseAnd", 18, infer_map<kInteger>, lower_binary<MINIINFER_PW_BIT_AND>),
    binary("BitwiseOr", 18, infer_map<kInteger>, lower_binary<MINIINFER_PW_BIT_OR>),
    binary("BitwiseXor", 18, infer_map<kInteger>, lower_binary<MINIINFER_PW_BIT_XOR>),
    binary("BitShift", 11, infer_map<kInteger>, lower_bit_shift,
           {{"direction", AttributeSpec::String, true}}),
    binary("Equal", 1, infer_compare<TypeRule::Any>, lower_binary<MINIINFER_PW_EQUAL>),
    binary("Less", 1, infer_compare<kNumeric>, lower_binary<MINIINFER_PW_LESS>),
    binary("LessOrEqual", 12, infer_compare<kNumeric>, lower_binary<MINIINFER_PW_LESS_EQUAL>),
    binary("Greater", 1, infer_compare<kNumeric>, lower_swapped<MINIINFER_PW_LESS>),
    binary("GreaterOrEqual", 12, infer_compare<kNumeric>, lower_swapped<MINIINFER_PW_LESS_EQUAL>),
    variadic("Min", infer_map<kNumeric>, lower_variadic<MINIINFER_PW_MIN>),
    variadic("Max", infer_map<kNumeric>, lower_variadic<MINIINFER_PW_MAX>),
    variadic("Sum", infer_map<TypeRule::Float>, lower_variadic<MINIINFER_PW_ADD>),
    variadic("Mean", infer_map<TypeRule::Float>, lower_mean),
    {.name = "Where",
     .since = 9,
     .min_inputs = 3,
     .max_inputs = 3,
     .attributes = {},
     .infer = infer_where,
     .lower = lower_where},
};

}  // namespace

const OperatorTable kPointwiseOperators = kTable;

}  // namespace miniinfer
