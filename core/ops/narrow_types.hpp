#pragma once

// Casts from and to the types no kernel computes with: 8-bit floats, and what is packed two or four
// to a byte. They are made of what every backend has: arithmetic on bits, copies, and a table.

#include <string_view>

#include "core/ops/operator.hpp"

namespace miniinfer {

bool is_narrow_type(DataType type);

// As float32, which holds each of them exactly.
ValueId emit_widen(LowerContext& context, ValueId value);

// From any type that can be computed with. `saturate` and `round_mode` (of FLOAT8E8M0: up, down,
// nearest) are those of ONNX's Cast. Integers keep their low bits.
ValueId emit_narrow(LowerContext& context, ValueId value, DataType to, bool saturate,
                    std::string_view round_mode);

}  // namespace miniinfer
