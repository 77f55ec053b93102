#include "core/ops/lowering_reduce.hpp"

#include <algorithm>

#include "miniinfer/abi/op/norm.h"

namespace miniinfer {

ValueId emit_reduce(LowerContext& context, int kind, ValueId value,
                    const std::vector<std::int64_t>& axes, bool select_last) {
  const Shape in = context.shape_of(value);
  const DataType type = context.dtype_of(value);
  const bool arg = kind == MINIINFER_REDUCE_ARGMAX || kind == MINIINFER_REDUCE_ARGMIN;
  const DataType out_type = arg ? DataType::Int64 : type;
  std::vector<bool> reduced(in.size(), false);
  for (const std::int64_t axis : axes) reduced[static_cast<std::size_t>(axis)] = true;
  Shape out = in;
  Shape joined;
  std::vector<bool> joined_reduced;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (reduced[i]) out[i] = 1;
    // An axis of size 1 gives the same either way; the one axis of ARGMAX must stay.
    if (in[i] == 1 && !(arg && reduced[i])) continue;
    if (!joined.empty() && joined_reduced.back() == reduced[i]) {
      joined.back() *= in[i];
    } else {
      joined.push_back(in[i]);
      joined_reduced.push_back(reduced[i]);
    }
  }
  if (!arg &&
      std::find(joined_reduced.begin(), joined_reduced.end(), true) == joined_reduced.end()) {
    return context.view(value, out);
  }
  // Axes are only joined where there are too many: as they are, they can be put into another order.
  if (in.size() <= MINIINFER_MAX_RANK) {
    joined = in;
    joined_reduced = reduced;
  }
  if (joined.size() > MINIINFER_MAX_RANK) {
    context.fail(unsupported("a reduction along %zu separate axes", joined.size()));
    joined.resize(MINIINFER_MAX_RANK);
  }
  miniinfer_reduce_attrs attrs{};
  attrs.kind = kind;
  attrs.select_last = select_last;
  Shape joined_out = joined;
  for (std::size_t i = 0; i < joined.size(); ++i) {
    attrs.window[i] = joined_reduced[i] ? joined[i] : 1;
    attrs.stride[i] = attrs.dilation[i] = 1;
    if (joined_reduced[i]) joined_out[i] = 1;
  }
  const ValueId result = context.emit(MINIINFER_REDUCE, make_attrs(attrs),
                                      {context.view(value, joined)}, out_type, joined_out);
  return context.view(result, out);
}

ValueId emit_softmax(LowerContext& context, ValueId value, std::size_t axis, bool logarithm) {
  const Shape shape = context.shape_of(value);
  const Shape flat = view_axis(shape, axis).shape();  // so that any rank will do
  miniinfer_softmax_attrs attrs{};
  attrs.axis = 1;
  attrs.logarithm = logarithm ? 1 : 0;
  const ValueId made = context.emit(MINIINFER_SOFTMAX, make_attrs(attrs),
                                    {context.view(value, flat)}, context.dtype_of(value), flat);
  return context.view(made, shape);
}

AxisView view_axis(const Shape& shape, std::size_t axis) {
  return {product(shape, 0, axis), shape[axis], product(shape, axis + 1, shape.size())};
}

std::vector<std::int64_t> axes_from(std::size_t first, std::size_t rank) {
  std::vector<std::int64_t> axes;
  for (std::size_t i = first; i < rank; ++i) axes.push_back(static_cast<std::int64_t>(i));
  return axes;
}

}  // namespace miniinfer
