#ifndef MINIINFER_ABI_OP_CONTRACT_H
#define MINIINFER_ABI_OP_CONTRACT_H

// contract/1: batched matrix product, out[.., m, n] = sum over k of a[.., m, k] * b[.., k, n].
//
// a and b have equal rank of at least 2; batch axes are equal or 1. With a transpose flag the last
// two axes of that operand are stored the other way round ([.., k, m] or [.., n, k]). An empty k
// gives zeros. All three operands have one type; float16 and bfloat16 accumulate in float32,
// integers wrap. A bias and an activation follow as a pointwise node of the region.

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_CONTRACT "contract/1"

typedef struct miniinfer_contract_attrs {
  miniinfer_head head;
  uint32_t transpose_a;
  uint32_t transpose_b;
} miniinfer_contract_attrs;

#ifdef __cplusplus
}
#endif

#endif
