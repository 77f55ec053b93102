#pragma once

// A pointwise program as the source of a kernel of its own.

#include <cstdint>
#include <optional>
#include <string>

#include "plugins/cuda/kernels/pointwise_generated.hpp"
#include "plugins/cuda/kernels/pointwise_program.hpp"

namespace miniinfer::cuda {

inline constexpr const char* kGeneratedName = "pointwise";  // of the kernel

struct GeneratedSource {
  std::string text;         // depends on the program and on which strides are 0 and 1, on no size
  int vector = 1;           // elements to a thread and turn
  bool strides_fit = true;  // packs lie at multiples of their size where their operands do
  GeneratedArgs args{};     // all but pointers, fault and step
  std::uint32_t pack_bytes[kMaxPointwiseOperands] = {};  // alignment a whole pack needs; 0: any
};

// Nothing where the interpreter has to do it: 2^31 elements or more, or an output with gaps.
std::optional<GeneratedSource> generate(const PointwiseProgram& program);

// What a generated text needs before it.
const char* generated_prelude();

}  // namespace miniinfer::cuda
