#pragma once

#include <span>
#include <vector>

#include "core/ops/kernel_attrs.hpp"

namespace miniinfer {

// Appends the instructions of `program` to the one under construction, with `inputs` for its input
// registers. Gives the registers of its outputs.
std::vector<PointwiseBuilder::Reg> append_program(PointwiseBuilder& builder,
                                                  const PointwiseProgram& program,
                                                  std::span<const PointwiseBuilder::Reg> inputs);

}  // namespace miniinfer
