#pragma once

// Reductions over whole axes, for every lowering that needs one.

#include <cstdint>
#include <vector>

#include "core/ops/operator.hpp"
#include "miniinfer/abi/op/reduce.h"

namespace miniinfer {

// A reduce/1 node over whole axes that keeps them with size 1. Neighbouring axes that are all
// reduced or all kept are joined first, so any rank will do where they join to at most eight.
// ARGMAX and ARGMIN (one axis) give INT64.
ValueId emit_reduction(LowerContext& context, int kind, ValueId x, std::vector<std::int64_t> axes,
                       bool select_last = false);

}  // namespace miniinfer
