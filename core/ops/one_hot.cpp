#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"

namespace miniinfer {
namespace {

Result<std::int64_t> depth_of(const Constant& operand) {
  const std::vector<double> values = operand.as_doubles();
  if (values.size() != 1 || !(values[0] >= 0 && values[0] < 0x1p53)) {
    return invalid("the depth is not one number of at least 0");
  }
  return static_cast<std::int64_t>(values[0]);
}

// Where the new axis goes.
Result<std::size_t> new_axis(const Attributes& attributes, std::size_t rank) {
  Result<std::int64_t> axis = normalise_axis(attributes.get_int("axis", -1), rank + 1);
  if (!axis) return axis.status();
  return static_cast<std::size_t>(*axis);
}

Status infer_one_hot(InferContext& context) {
  const std::optional<Shape>& values = context.shape(2);
  if (is_concrete(values) && product(*values, 0, values->size()) != 2) {
    return invalid("the values are %s, not two", to_string(*values).c_str());
  }
  if (!context.shape(0)) return context.set(0, context.dtype(2), std::nullopt);
  Shape out = *context.shape(0);
  Result<std::size_t> axis = new_axis(context.attributes(), out.size());
  if (!axis) return axis.status();
  std::int64_t size = -1;
  if (const ConstantPtr operand = context.constant(1)) {
    Result<std::int64_t> depth = depth_of(*operand);
    if (!depth) return depth.status();
    size = *depth;
  }
  out.insert(out.begin() + static_cast<std::ptrdiff_t>(*axis), size);
  return context.set(0, context.dtype(2), std::move(out));
}

// Compares each index with 0, 1, .. along the new axis. Indices from -depth on count from the end;
// others meet nothing.
Status lower_one_hot(LowerContext& context) {
  const Shape& out = context.out_shape(0);
  Result<std::size_t> axis = new_axis(context.attributes(), context.shape(0).size());
  if (!axis) return axis.status();
  const std::int64_t depth = out[*axis];
  Shape position_shape(out.size(), 1);
  position_shape[*axis] = depth;
  Shape index_shape = out;
  index_shape[*axis] = 1;

  const ValueId values = context.view(context.in(2), {2});
  const ValueId off = emit_slice(context, values, {0}, {1}, {1});
  const ValueId on = emit_slice(context, values, {1}, {1}, {1});
  const ValueId indices = emit_cast(context, context.in(0), DataType::Int64);
  const ValueId classes = emit_positions(context, 0, 1, position_shape);

  const DataType type = context.dtype(2);
  PointwiseBuilder builder(4);
  const auto zero = builder.constant_bits(DataType::Int64, 0);
  const auto count = builder.constant_bits(DataType::Int64, static_cast<std::uint64_t>(depth));
  const auto index = builder.input(0);
  const auto negative = builder.emit(MINIINFER_PW_LESS, DataType::Int64, index, zero);
  const auto wrapped = builder.emit(MINIINFER_PW_ADD, DataType::Int64, index, count);
  const auto position =
      builder.emit(MINIINFER_PW_SELECT, DataType::Int64, negative, wrapped, index);
  const auto meets = builder.emit(MINIINFER_PW_EQUAL, DataType::Int64, position, builder.input(1));
  const auto result =
      builder.emit(MINIINFER_PW_SELECT, type, meets, builder.input(2), builder.input(3));
  context.set_output(
      0, emit_pointwise(context, builder.finish({result}),
                        {context.view(indices, index_shape), classes, on, off}, type, out));
  return {};
}

const Operator kTable[] = {
    {.name = "OneHot",
     .since = 9,
     .min_inputs = 3,
     .max_inputs = 3,
     .attributes = {{"axis", AttributeSpec::Int}},
     .host_inputs = 0b10,
     .infer = infer_one_hot,
     .lower = lower_one_hot},
};

}  // namespace

const OperatorTable kOneHotOperators = kTable;

}  // namespace miniinfer
