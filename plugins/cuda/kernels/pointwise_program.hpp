#pragma once

#include <cstdint>
#include <vector>

#include "miniinfer/abi/op/pointwise.h"
#include "miniinfer/sdk/region.hpp"
#include "plugins/cuda/kernels/operand.hpp"

namespace miniinfer::cuda {

inline constexpr int kMaxPointwiseOperands = 16;  // inputs and outputs
inline constexpr int kMaxPointwiseConstants = 64;

// A pointwise node, checked: everything that makes kernels of it may trust what it says.
struct PointwiseProgram {
  std::vector<Operand> operands;  // inputs, then outputs
  std::uint32_t inputs = 0;
  std::vector<miniinfer_dtype> types;  // of each register
  std::vector<std::uint64_t> constants;
  std::vector<miniinfer_instruction> code;
  std::vector<std::uint16_t> out;  // the register of each output
  // The output's axes, merged where all operands allow it; strides are 0 where one is broadcast.
  Axes<kMaxPointwiseOperands> axes;
  std::int64_t count = 0;  // of the output's elements
  bool small = true;       // every index fits 31 bits

  std::uint32_t outputs() const { return static_cast<std::uint32_t>(out.size()); }
  // Whether an operand's element p is at p.
  bool is_direct(std::size_t operand) const;
};

// Throws sdk::Error UNSUPPORTED where an opcode, a type or a layout is not served, and
// INVALID_ARGUMENT for what is no program.
PointwiseProgram read_pointwise(const sdk::Region& region, std::uint32_t node);

inline bool pointwise_gives_bool(int op) {
  return (op >= MINIINFER_PW_IS_NAN && op <= MINIINFER_PW_IS_NEGATIVE_INF) ||
         (op >= MINIINFER_PW_EQUAL && op <= MINIINFER_PW_LESS_EQUAL);
}

// How many operands an opcode reads.
inline int pointwise_arity(int op) {
  return op >= MINIINFER_PW_SELECT ? 3 : op >= MINIINFER_PW_ADD ? 2 : 1;
}

}  // namespace miniinfer::cuda
