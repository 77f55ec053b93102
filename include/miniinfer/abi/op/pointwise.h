#ifndef MINIINFER_ABI_OP_POINTWISE_H
#define MINIINFER_ABI_OP_POINTWISE_H

// pointwise/1: a small program that is run for each element.
//
// Inputs are broadcast to the output's shape: all operands of the node have the same rank, and an
// input's axis of size 1 meets any size (its stride is 0 there). Registers are numbered inputs
// first, then constants, then the result of each instruction in turn, so a program is in SSA form
// and an instruction only reads registers before its own. All outputs have one shape.
//
// `dtype` of an instruction is the type it computes in: that of its operands a, b (and of b, c for
// SELECT). Comparisons and IS_* give BOOL, CAST gives `dtype` from whatever a is; every other
// instruction gives `dtype`.
//
// Arithmetic, normative:
//   integers     wrap; SHIFT by the width or more gives 0; DIV and MOD by zero give 0 and report
//                MINIINFER_FAULT_DIVIDE; INT_MIN / -1 gives INT_MIN; DIV rounds toward zero
//   POW          of integers wraps; a negative exponent gives 1 / a^-b rounded toward zero, and
//                MINIINFER_FAULT_DIVIDE with 0 where a is 0
//   MOD, FMOD    MOD takes the divisor's sign (Python's %), FMOD the dividend's (C's fmod, %)
//   MIN, MAX     NaN if either is NaN
//   ROUND        half to even
//   float types  each instruction rounds to its type once; nothing contracts a*b+c unless the
//                node's math allows it; float16 and bfloat16 compute in float32 and round
//   CAST         float to integer truncates toward zero and saturates, NaN gives 0; integer to
//                integer keeps the low bits; to BOOL is x != 0 (NaN is true); float to float rounds
//                to nearest even, overflow gives infinity
//   functions    EXP, LOG, TANH, ERF, ... within 4 units in the last place in float32

#include "miniinfer/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MINIINFER_POINTWISE "pointwise/1"
#define MINIINFER_POINTWISE_MAX_CODE 64

enum {
  // one operand
  MINIINFER_PW_COPY = 0,
  MINIINFER_PW_CAST = 1,
  MINIINFER_PW_NEG = 2,
  MINIINFER_PW_ABS = 3,
  MINIINFER_PW_SIGN = 4,  // -1, 0, 1; NaN stays NaN
  MINIINFER_PW_SQRT = 5,
  MINIINFER_PW_RSQRT = 6,
  MINIINFER_PW_RECIPROCAL = 7,
  MINIINFER_PW_EXP = 8,
  MINIINFER_PW_LOG = 9,
  MINIINFER_PW_SIN = 10,
  MINIINFER_PW_COS = 11,
  MINIINFER_PW_TAN = 12,
  MINIINFER_PW_ASIN = 13,
  MINIINFER_PW_ACOS = 14,
  MINIINFER_PW_ATAN = 15,
  MINIINFER_PW_SINH = 16,
  MINIINFER_PW_COSH = 17,
  MINIINFER_PW_TANH = 18,
  MINIINFER_PW_ASINH = 19,
  MINIINFER_PW_ACOSH = 20,
  MINIINFER_PW_ATANH = 21,
  MINIINFER_PW_ERF = 22,
  MINIINFER_PW_SIGMOID = 23,   // 1 / (1 + exp(-a)), without overflow
  MINIINFER_PW_SOFTPLUS = 24,  // log(1 + exp(a)), without overflow
  MINIINFER_PW_FLOOR = 25,
  MINIINFER_PW_CEIL = 26,
  MINIINFER_PW_ROUND = 27,
  MINIINFER_PW_NOT = 28,      // BOOL
  MINIINFER_PW_BIT_NOT = 29,  // integers
  MINIINFER_PW_IS_NAN = 30,
  MINIINFER_PW_IS_POSITIVE_INF = 31,
  MINIINFER_PW_IS_NEGATIVE_INF = 32,
  // two operands
  MINIINFER_PW_ADD = 40,
  MINIINFER_PW_SUB = 41,
  MINIINFER_PW_MUL = 42,
  MINIINFER_PW_DIV = 43,
  MINIINFER_PW_MOD = 44,
  MINIINFER_PW_FMOD = 45,
  MINIINFER_PW_POW = 46,  // b has a's type; the host inserts casts
  MINIINFER_PW_MIN = 47,
  MINIINFER_PW_MAX = 48,
  MINIINFER_PW_AND = 49,  // BOOL
  MINIINFER_PW_OR = 50,
  MINIINFER_PW_XOR = 51,
  MINIINFER_PW_BIT_AND = 52,
  MINIINFER_PW_BIT_OR = 53,
  MINIINFER_PW_BIT_XOR = 54,
  MINIINFER_PW_SHIFT_LEFT = 55,
  MINIINFER_PW_SHIFT_RIGHT = 56,  // logical: the types are unsigned
  MINIINFER_PW_EQUAL = 57,
  MINIINFER_PW_LESS = 58,
  MINIINFER_PW_LESS_EQUAL = 59,
  // three operands
  MINIINFER_PW_SELECT = 70,  // a is BOOL: a ? b : c
  MINIINFER_PW_FMA = 71      // a * b + c rounded once
};

// Frozen: no head.
typedef struct miniinfer_instruction {
  uint16_t op;     // MINIINFER_PW_*
  uint16_t dtype;  // element type
  uint16_t a;      // registers; those the opcode does not use are 0
  uint16_t b;
  uint16_t c;
  uint16_t reserved;
} miniinfer_instruction;

typedef struct miniinfer_pointwise_attrs {
  miniinfer_head head;
  uint32_t in_count;
  uint32_t constant_count;
  uint32_t code_count;  // at most MINIINFER_POINTWISE_MAX_CODE
  uint32_t out_count;
  const uint64_t* constants;        // bit patterns in the low bytes
  const uint16_t* constant_dtypes;  // element types
  const miniinfer_instruction* code;
  const uint16_t* out;  // the register of each output, `out_count` of them
} miniinfer_pointwise_attrs;

#ifdef __cplusplus
}
#endif

#endif
