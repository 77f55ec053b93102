#pragma once

#include "core/ops/operator.hpp"

namespace miniinfer {

// A contract node over operands of at least two axes, brought to equal rank; where both sides have
// the same batch axes they are joined, so that any rank will do.
ValueId emit_contract(LowerContext& context, ValueId a, ValueId b, bool transpose_a,
                      bool transpose_b);

}  // namespace miniinfer
