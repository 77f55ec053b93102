#include "core/passes/program_editor.hpp"

namespace miniinfer {

std::vector<PointwiseBuilder::Reg> append_program(PointwiseBuilder& builder,
                                                  const PointwiseProgram& program,
                                                  std::span<const PointwiseBuilder::Reg> inputs) {
  std::vector<PointwiseBuilder::Reg> registers(inputs.begin(), inputs.end());
  for (std::size_t i = 0; i < program.constants().size(); ++i) {
    registers.push_back(builder.constant_bits(static_cast<DataType>(program.constant_dtypes()[i]),
                                              program.constants()[i]));
  }
  for (const miniinfer_instruction& instruction : program.code()) {
    registers.push_back(builder.emit(instruction.op, static_cast<DataType>(instruction.dtype),
                                     registers[instruction.a], registers[instruction.b],
                                     registers[instruction.c]));
  }
  std::vector<PointwiseBuilder::Reg> outputs;
  for (const std::uint16_t output : program.outputs()) outputs.push_back(registers[output]);
  return outputs;
}

}  // namespace miniinfer
