#pragma once

// Loops over contiguous elements: what every kernel that is not a matrix product is made of. They
// are compiled once for each instruction set from primitives.inc; primitives() picks a table.
//
// This header is read by the instruction set files: nothing here may have code of its own, or a
// copy compiled for a newer processor could be linked into the core.

#include <stdint.h>

namespace miniinfer::cpu {

enum : int { kOpCodes = 72, kDtypes = 17 };

// out[i] = op(a[i], b[i], c[i]) for i in [0, n); operands an opcode lacks are not read. `out` may
// be exactly one of the operands if its elements are no wider or narrower. Gives how many integer
// divisions by zero there were.
using Primitive = int64_t (*)(void* out, const void* a, const void* b, const void* c, int64_t n);

// Combines a[0..n) into *out of the same type; n is at least 1.
using RowReduction = void (*)(void* out, const void* a, int64_t n);

enum RowKind : int { kRowSum, kRowMax, kRowMin, kRowProd, kRowKinds };

struct PrimitiveTable {
  const char* isa;
  Primitive op[kOpCodes][kDtypes];  // by opcode, element type; null where there is none
  // float32 with one operand a single element: [0] for a, [1] for b. Null for most opcodes.
  Primitive scalar[kOpCodes][2];
  Primitive cast[kDtypes][kDtypes];  // from, to
  RowReduction row[kRowKinds][kDtypes];

  // Gives the sum of (x - shift)^2, in the type itself but carefully.
  float (*square_sum_f32)(const float* x, float shift, int64_t n);
  // y = exp(x - shift), gives its sum. y may be x.
  float (*exp_sum_f32)(float* y, const float* x, float shift, int64_t n);
  // y = (x - shift) * factor * scale + bias; scale and bias may be null.
  void (*normalize_f32)(float* y, const float* x, float shift, float factor, const float* scale,
                        const float* bias, int64_t n);
  // out[i] = in[i * stride], elements of 4 bytes; stride is positive.
  void (*gather_strided_32)(uint32_t* out, const uint32_t* in, int64_t stride, int64_t n);
};

const PrimitiveTable& primitives_baseline() noexcept;
const PrimitiveTable& primitives_avx2() noexcept;
const PrimitiveTable& primitives_avx512() noexcept;

// The widest that cpu_features() allows. [any-thread]
const PrimitiveTable& primitives() noexcept;

}  // namespace miniinfer::cpu
