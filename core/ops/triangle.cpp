// Trilu and EyeLike: matrices seen from their diagonal.

#include <algorithm>

#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"

namespace miniinfer {
namespace {

Status infer_trilu(InferContext& context) {
  if (context.shape(0) && context.shape(0)->size() < 2) {
    return invalid("the input is of rank %zu; it takes matrices", context.shape(0)->size());
  }
  const std::optional<std::vector<std::int64_t>> k = context.ints(1);
  if (k && k->size() != 1) return invalid("k is not one integer");
  return infer_same(context);
}

// An element stays where row + k <= column, or where column <= row + k.
Status lower_trilu(LowerContext& context) {
  if (context.has_input(1) && !context.constant(1)) return unsupported("a diagonal k not known");
  const Shape& shape = context.shape(0);
  const std::int64_t rows = shape[shape.size() - 2];
  const std::int64_t columns = shape[shape.size() - 1];
  std::int64_t k = context.has_input(1) ? context.ints(1)->at(0) : 0;
  k = std::clamp(k, -rows - columns, rows + columns);
  const ValueId row = emit_positions(context, k, 1, {rows, 1});
  const ValueId column = emit_positions(context, 0, 1, {columns});

  const DataType type = context.dtype(0);
  const bool upper = context.attributes().get_int("upper", 1) != 0;
  PointwiseBuilder builder(3);
  const auto r = builder.input(0);
  const auto c = builder.input(1);
  const auto keep = upper ? builder.emit(MINIINFER_PW_LESS_EQUAL, DataType::Int64, r, c)
                          : builder.emit(MINIINFER_PW_LESS_EQUAL, DataType::Int64, c, r);
  const auto result = builder.emit(MINIINFER_PW_SELECT, type, keep, builder.input(2),
                                   builder.constant_bits(type, 0));
  context.set_output(0, emit_pointwise(context, builder.finish({result}),
                                       {row, column, context.in(0)}, type, shape));
  return {};
}

Status infer_eye_like(InferContext& context) {
  if (context.shape(0) && context.shape(0)->size() != 2) {
    return invalid("the input is of rank %zu, not 2", context.shape(0)->size());
  }
  const auto asked = static_cast<DataType>(context.attributes().get_int("dtype", 0));
  return context.set(0, asked == DataType::Undefined ? context.dtype(0) : asked, context.shape(0));
}

Status lower_eye_like(LowerContext& context) {
  const Shape& shape = context.out_shape(0);
  const DataType type = context.out_dtype(0);
  const std::int64_t rows = shape[0];
  const std::int64_t columns = shape[1];
  const std::int64_t k = std::clamp(context.attributes().get_int("k", 0), -rows, columns);
  CopyPiece diagonal;
  diagonal.dst_offset = k >= 0 ? k : -k * columns;
  diagonal.dims = {std::max<std::int64_t>(
      k >= 0 ? std::min(rows, columns - k) : std::min(rows + k, columns), 0)};
  diagonal.src_strides = {0};
  diagonal.dst_strides = {columns + 1};
  const ValueId one = context.constant_value(make_constant_scalar(type, 1));
  context.set_output(0, emit_copy(context, {one}, {std::move(diagonal)}, type, shape, 0));
  return {};
}

const Operator kTable[] = {
    {.name = "Trilu",
     .since = 14,
     .min_inputs = 1,
     .max_inputs = 2,
     .attributes = {{"upper", AttributeSpec::Int}},
     .host_inputs = 0b10,
     .infer = infer_trilu,
     .lower = lower_trilu},
    {.name = "EyeLike",
     .since = 9,
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {{"dtype", AttributeSpec::Int}, {"k", AttributeSpec::Int}},
     .infer = infer_eye_like,
     .lower = lower_eye_like},
};

}  // namespace

const OperatorTable kTriangleOperators = kTable;

}  // namespace miniinfer
