#pragma once

// Every family of operators; registry.cpp searches them. A family's file defines its table:
//
//   const Operator kTable[] = {..};
//   const OperatorTable kConvOperators = kTable;

#include "core/ops/operator.hpp"

namespace miniinfer {

extern const OperatorTable kActivationOperators;
extern const OperatorTable kAttentionOperators;  // Attention, RotaryEmbedding
extern const OperatorTable kBatchNormOperators;
extern const OperatorTable kCastOperators;
extern const OperatorTable kConstantOperators;  // Constant, ConstantOfShape, Range
extern const OperatorTable kExpandOperators;    // Expand, Tile
extern const OperatorTable kOneHotOperators;
extern const OperatorTable kPadOperators;
extern const OperatorTable kPointwiseOperators;  // of several tensors that broadcast
extern const OperatorTable kRandomOperators;
extern const OperatorTable kReverseOperators;
extern const OperatorTable kShapeOperators;  // Shape, Reshape, Squeeze, ..: nothing moves
extern const OperatorTable kSliceOperators;  // Slice, Split, Concat
extern const OperatorTable kTransposeOperators;
extern const OperatorTable kTriangleOperators;  // Trilu, EyeLike

extern const OperatorTable kConvOperators;
extern const OperatorTable kPoolOperators;
extern const OperatorTable kReduceOperators;
extern const OperatorTable kMatmulOperators;
extern const OperatorTable kEinsumOperators;
extern const OperatorTable kNormOperators;
extern const OperatorTable kResizeOperators;
extern const OperatorTable kGatherOperators;
extern const OperatorTable kSelectOperators;  // TopK, NonZero, NonMaxSuppression, CumSum

}  // namespace miniinfer
