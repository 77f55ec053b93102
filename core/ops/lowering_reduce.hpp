#pragma once

// Reductions of whole axes, and what is made of them.

#include "core/ops/lowering.hpp"
#include "miniinfer/abi/op/reduce.h"

namespace miniinfer {

// The given axes (normalised) become 1. A float type below float32 sums in float32. ARGMAX and
// ARGMIN take one axis. Neighbouring axes that are treated alike are joined, so any rank will do
// that has few changes.
ValueId emit_reduce(LowerContext& context, int kind, ValueId value,
                    const std::vector<std::int64_t>& axes, bool select_last = false);

// softmax/1 over an axis, or its logarithm.
ValueId emit_softmax(LowerContext& context, ValueId value, std::size_t axis, bool logarithm);

// Sizes before, at and after an axis.
struct AxisView {
  std::int64_t outer, size, inner;
  Shape shape() const { return {outer, size, inner}; }
};
AxisView view_axis(const Shape& shape, std::size_t axis);

// axes first, first + 1, .. rank - 1
std::vector<std::int64_t> axes_from(std::size_t first, std::size_t rank);

}  // namespace miniinfer
