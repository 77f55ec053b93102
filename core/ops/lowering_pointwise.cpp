#include <algorithm>

#include "core/ops/lowering.hpp"

namespace miniinfer {
namespace {

Shape with_leading_ones(const Shape& shape, std::size_t rank) {
  Shape out(rank - std::min(rank, shape.size()), 1);
  out.insert(out.end(), shape.begin(), shape.end());
  return out;
}

// Joins neighbouring axes along which every operand is whole or every operand is broadcast.
// `shapes` have the rank of `out`.
void collapse(std::vector<Shape>& shapes, Shape& out) {
  std::vector<Shape> joined(shapes.size());
  Shape joined_out;
  std::vector<bool> last;
  for (std::size_t axis = 0; axis < out.size(); ++axis) {
    if (out[axis] == 1) continue;
    std::vector<bool> whole;
    for (const Shape& shape : shapes) whole.push_back(shape[axis] != 1);
    const bool join = !joined_out.empty() && whole == last;
    if (!join) {
      joined_out.push_back(1);
      for (Shape& shape : joined) shape.push_back(1);
    }
    joined_out.back() *= out[axis];
    for (std::size_t i = 0; i < shapes.size(); ++i) joined[i].back() *= shapes[i][axis];
    last = std::move(whole);
  }
  shapes = std::move(joined);
  out = std::move(joined_out);
}

}  // namespace

bool is_pointwise_type(DataType type) {
  switch (type) {
    case DataType::Float32:
    case DataType::Float64:
    case DataType::Float16:
    case DataType::BFloat16:
    case DataType::Int8:
    case DataType::Int16:
    case DataType::Int32:
    case DataType::Int64:
    case DataType::UInt8:
    case DataType::UInt16:
    case DataType::UInt32:
    case DataType::UInt64:
    case DataType::Bool:
      return true;
    default:
      return false;
  }
}

DataType result_type(std::uint16_t opcode, DataType dtype) {
  switch (opcode) {
    case MINIINFER_PW_IS_NAN:
    case MINIINFER_PW_EQUAL:
    case MINIINFER_PW_LESS:
    case MINIINFER_PW_LESS_EQUAL:
      return DataType::Bool;
    default:
      return dtype;
  }
}

DataType formula_type(DataType type) {
  const bool narrow = type == DataType::Float16 || type == DataType::BFloat16;
  return narrow ? DataType::Float32 : type;
}

ValueId emit_pointwise(LowerContext& context, KernelAttrsPtr program, std::vector<ValueId> inputs,
                       DataType dtype, const Shape& shape) {
  std::vector<Shape> shapes;
  const auto check = [&](DataType type) {
    if (!is_pointwise_type(type)) {
      context.fail(unsupported("arithmetic on %s", to_string(type).data()));
    }
  };
  check(dtype);
  for (const ValueId input : inputs) {
    check(context.dtype_of(input));
    shapes.push_back(with_leading_ones(context.shape_of(input), shape.size()));
  }
  Shape kernel_shape = shape;
  if (shape.size() > MINIINFER_MAX_RANK) collapse(shapes, kernel_shape);
  for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = context.view(inputs[i], shapes[i]);
  const ValueId out = context.emit(MINIINFER_POINTWISE, std::move(program), std::move(inputs),
                                   dtype, std::move(kernel_shape));
  return context.view(out, shape);
}

ValueId emit_unary(LowerContext& context, std::uint16_t opcode, ValueId a) {
  const DataType type = context.dtype_of(a);
  PointwiseBuilder builder(1);
  return emit_pointwise(context, builder.finish({builder.emit(opcode, type, builder.input(0))}),
                        {a}, result_type(opcode, type), context.shape_of(a));
}

ValueId emit_binary(LowerContext& context, std::uint16_t opcode, ValueId a, ValueId b) {
  const DataType type = context.dtype_of(a);
  Result<Shape> shape = broadcast(context.shape_of(a), context.shape_of(b));
  if (!shape) {
    context.fail(shape.status());
    shape = context.shape_of(a);
  }
  PointwiseBuilder builder(2);
  const auto result = builder.emit(opcode, type, builder.input(0), builder.input(1));
  return emit_pointwise(context, builder.finish({result}), {a, b}, result_type(opcode, type),
                        *shape);
}

ValueId emit_select(LowerContext& context, ValueId condition, ValueId a, ValueId b) {
  Result<Shape> shape = broadcast(context.shape_of(a), context.shape_of(b));
  if (shape) shape = broadcast(*shape, context.shape_of(condition));
  if (!shape) {
    context.fail(shape.status());
    shape = context.shape_of(a);
  }
  const DataType type = context.dtype_of(a);
  PointwiseBuilder builder(3);
  const auto result =
      builder.emit(MINIINFER_PW_SELECT, type, builder.input(0), builder.input(1), builder.input(2));
  return emit_pointwise(context, builder.finish({result}), {condition, a, b}, type, *shape);
}

ValueId emit_scalar(LowerContext& context, std::uint16_t opcode, ValueId a, double b) {
  const DataType type = context.dtype_of(a);
  PointwiseBuilder builder(1);
  const auto result = builder.emit(opcode, type, builder.input(0), builder.constant(type, b));
  return emit_pointwise(context, builder.finish({result}), {a}, result_type(opcode, type),
                        context.shape_of(a));
}

ValueId emit_cast(LowerContext& context, ValueId value, DataType dtype) {
  if (context.dtype_of(value) == dtype) return value;
  PointwiseBuilder builder(1);
  const auto result = builder.emit(MINIINFER_PW_CAST, dtype, builder.input(0));
  return emit_pointwise(context, builder.finish({result}), {value}, dtype, context.shape_of(value));
}

Formula::Formula(LowerContext& context, std::vector<ValueId> inputs, DataType compute)
    : context_(context),
      inputs_(std::move(inputs)),
      compute_(compute),
      builder_(static_cast<std::uint32_t>(inputs_.size())) {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const DataType type = context_.dtype_of(inputs_[i]);
    const bool convert = type != compute && type != DataType::Bool;
    converted_.push_back(convert ? emit(MINIINFER_PW_CAST, compute, raw(i)) : raw(i));
  }
}

Formula::Reg Formula::emit(std::uint16_t opcode, DataType dtype, Reg a, Reg b, Reg c) {
  result_types_.push_back(result_type(opcode, dtype));
  return builder_.emit(opcode, dtype, a, b, c);
}

Formula::Reg Formula::op(std::uint16_t opcode, Reg a, Reg b, Reg c) {
  return emit(opcode, compute_, a, b, c);
}

ValueId Formula::finish(Reg result, DataType dtype, const Shape& shape) {
  const DataType type = result.kind == Reg::Result ? result_types_[result.index] : compute_;
  if (type != dtype) {
    result = emit(MINIINFER_PW_CAST, dtype, result);
  } else if (result.kind != Reg::Result) {
    result = emit(MINIINFER_PW_COPY, dtype, result);
  }
  return emit_pointwise(context_, builder_.finish({result}), std::move(inputs_), dtype, shape);
}

}  // namespace miniinfer
