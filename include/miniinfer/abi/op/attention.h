#ifndef MINIINFER_ABI_OP_ATTENTION_H
#define MINIINFER_ABI_OP_ATTENTION_H

// attention/1: y = softmax(scale * q k^T + mask) v, the softmax over the keys.
//
//   q     [batch, heads, queries, depth]
//   k     [batch, groups, keys, depth]   heads is a multiple of groups, and head h reads
//   v     [batch, groups, keys, width]   group h / (heads / groups) of k and v
//   mask  [batch, heads, queries, keys]  added; optional; each of its axes may be 1
//   y     [batch, heads, queries, width]
//
// All of one float type. Whatever it is, products and sums are taken in float32 at least (float64
// in float64), and so is the softmax; a backend may round the probabilities to the operands' type
// before they meet v, as with MINIINFER_MATH_TF32 to tf32, and the order of sums is its own. No
// axis but the mask's is empty.
//
// Keys that CAUSAL leaves out count as if their mask were -infinity; a backend need not look at
// them. A query all of whose keys are at -infinity, or one of
// whose keys is at +infinity or NaN, gives NaN, as softmax/1 does; with NAN_TO_ZERO it gives zeros.
//
// Operands lie in any order of axes, and may be broadcast: q, k, v and y are mostly [batch,
// sequence, heads, depth] in memory. A backend may refuse those whose last axis is not contiguous,
// types, and sizes for which it is faster in parts: contract/1, pointwise/1 and softmax/1 say the
// same.

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_ATTENTION "attention/1"

enum {
  MINIINFER_ATTENTION_CAUSAL = 1u << 0,      // query i meets keys up to i + past
  MINIINFER_ATTENTION_NAN_TO_ZERO = 1u << 1  // probabilities that are NaN are 0
};

typedef struct miniinfer_attention_attrs {
  miniinfer_head head;
  float scale;
  uint32_t flags;  // MINIINFER_ATTENTION_*
  int64_t past;    // for CAUSAL: keys before those of the first query; may be negative
} miniinfer_attention_attrs;

#ifdef __cplusplus
}
#endif

#endif
