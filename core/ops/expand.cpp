// Expand and Tile: elements are repeated.

#include "core/base/checked_math.hpp"
#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"

namespace miniinfer {
namespace {

using Ints = std::vector<std::int64_t>;

Status infer_expand(InferContext& context) {
  Result<std::optional<Ints>> wanted = host_ints(context, 1);
  if (!wanted) return wanted.status();
  if (!*wanted || !context.shape(0)) return context.set(0, context.dtype(0), std::nullopt);
  if (!is_concrete(**wanted)) {
    return invalid("the shape %s has a negative size", to_string(**wanted).c_str());
  }
  Result<Shape> shape = broadcast(*context.shape(0), **wanted);
  if (!shape) return shape.status();
  return context.set(0, context.dtype(0), std::move(*shape));
}

Status lower_expand(LowerContext& context) {
  context.set_output(0, emit_expand(context, context.in(0), context.out_shape(0)));
  return {};
}

Status infer_tile(InferContext& context) {
  Result<std::optional<Ints>> repeats = host_ints(context, 1);
  if (!repeats) return repeats.status();
  if (!context.shape(0)) return context.set(0, context.dtype(0), std::nullopt);
  const Shape& in = *context.shape(0);
  Shape out(in.size(), -1);
  if (*repeats) {
    if ((**repeats).size() != in.size()) {
      return invalid("%zu repeats for an input of rank %zu", (**repeats).size(), in.size());
    }
    for (std::size_t i = 0; i < in.size(); ++i) {
      const std::int64_t times = (**repeats)[i];
      if (times < 0)
        return invalid("axis %zu is repeated %lld times", i, static_cast<long long>(times));
      if (in[i] >= 0 && !checked_mul(in[i], times, &out[i])) {
        return invalid("axis %zu of %lld elements, %lld times, is too long", i,
                       static_cast<long long>(in[i]), static_cast<long long>(times));
      }
    }
  }
  return context.set(0, context.dtype(0), std::move(out));
}

// Each axis becomes two: which repetition, and where in it.
Status lower_tile(LowerContext& context) {
  const Shape& in = context.shape(0);
  const Shape& out = context.out_shape(0);
  const Shape src = row_major_strides(in);
  const Shape dst = row_major_strides(out);
  CopyPiece piece;
  for (std::size_t i = 0; i < in.size(); ++i) {
    const std::int64_t times = in[i] == 0 ? 0 : out[i] / in[i];
    piece.dims.insert(piece.dims.end(), {times, in[i]});
    piece.src_strides.insert(piece.src_strides.end(), {0, src[i]});
    piece.dst_strides.insert(piece.dst_strides.end(), {dst[i] * in[i], dst[i]});
  }
  context.set_output(
      0, emit_copy(context, {context.in(0)}, {std::move(piece)}, context.dtype(0), out));
  return {};
}

// Opset 1 repeated one axis: inputs tiles and axis.
Status upgrade_tile(UpgradeContext& context) {
  return context.opset >= 6 ? Status() : unsupported("Tile as opset 1 to 5 define it");
}

const Operator kTable[] = {
    {.name = "Expand",
     .since = 8,
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {},
     .host_inputs = 0b10,
     .infer = infer_expand,
     .lower = lower_expand},
    {.name = "Tile",
     .since = 1,
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {},
     .host_inputs = 0b10,
     .infer = infer_tile,
     .lower = lower_tile,
     .upgrade = upgrade_tile},
};

}  // namespace

const OperatorTable kExpandOperators = kTable;

}  // namespace miniinfer
