#include "core/ops/kernel_attrs.hpp"

#include <algorithm>
#include <cstring>

#include "core/graph/constant.hpp"

namespace miniinfer {
namespace {

int operand_count(std::uint16_t op) {
  if (op >= MINIINFER_PW_SELECT) return 3;
  return op >= MINIINFER_PW_ADD ? 2 : 1;
}

}  // namespace

PointwiseProgram::PointwiseProgram(std::uint32_t inputs,
                                   std::vector<std::pair<std::uint64_t, DataType>> constants,
                                   std::vector<miniinfer_instruction> code,
                                   std::vector<std::uint16_t> outputs)
    : code_(std::move(code)), outputs_(std::move(outputs)) {
  for (const auto& [bits, dtype] : constants) {
    constants_.push_back(bits);
    constant_dtypes_.push_back(static_cast<std::uint16_t>(dtype));
  }
  attrs_.head = MINIINFER_HEAD(miniinfer_pointwise_attrs);
  attrs_.in_count = inputs;
  attrs_.constant_count = static_cast<std::uint32_t>(constants_.size());
  attrs_.code_count = static_cast<std::uint32_t>(code_.size());
  attrs_.out_count = static_cast<std::uint32_t>(outputs_.size());
  attrs_.constants = constants_.data();
  attrs_.constant_dtypes = constant_dtypes_.data();
  attrs_.code = code_.data();
  attrs_.out = outputs_.data();
}

PointwiseBuilder::Reg PointwiseBuilder::constant(DataType type, double value) {
  const ConstantPtr scalar = make_constant_scalar(type, value);
  std::uint64_t bits = 0;
  std::memcpy(&bits, scalar->bytes.data(), std::min(sizeof bits, scalar->bytes.size()));
  return constant_bits(type, bits);
}

PointwiseBuilder::Reg PointwiseBuilder::constant_bits(DataType type, std::uint64_t bits) {
  const std::pair<std::uint64_t, DataType> wanted(bits, type);
  const auto found = std::find(constants_.begin(), constants_.end(), wanted);
  const auto index = static_cast<std::uint16_t>(found - constants_.begin());
  if (found == constants_.end()) constants_.push_back(wanted);
  return {Reg::Constant, index};
}

PointwiseBuilder::Reg PointwiseBuilder::emit(std::uint16_t op, DataType dtype, Reg a, Reg b,
                                             Reg c) {
  code_.push_back({op, dtype, a, b, c});
  return {Reg::Result, static_cast<std::uint16_t>(code_.size() - 1)};
}

KernelAttrsPtr PointwiseBuilder::finish(std::vector<Reg> outputs) const {
  const auto number = [&](Reg reg) {
    const std::size_t base = reg.kind == Reg::Input      ? 0
                             : reg.kind == Reg::Constant ? inputs_
                                                         : inputs_ + constants_.size();
    return static_cast<std::uint16_t>(base + reg.index);
  };
  std::vector<miniinfer_instruction> code;
  for (const Pending& pending : code_) {
    const int operands = operand_count(pending.op);
    miniinfer_instruction instruction{};
    instruction.op = pending.op;
    instruction.dtype = static_cast<std::uint16_t>(pending.dtype);
    instruction.a = number(pending.a);
    if (operands > 1) instruction.b = number(pending.b);
    if (operands > 2) instruction.c = number(pending.c);
    code.push_back(instruction);
  }
  std::vector<std::uint16_t> out;
  for (const Reg reg : outputs) out.push_back(number(reg));
  return std::make_shared<PointwiseProgram>(inputs_, constants_, std::move(code), std::move(out));
}

CopyRegions::CopyRegions(std::vector<miniinfer_copy_region> regions)
    : regions_(std::move(regions)) {
  for (miniinfer_copy_region& region : regions_) {
    region.head = MINIINFER_HEAD(miniinfer_copy_region);
    pointers_.push_back(&region);
  }
  attrs_.head = MINIINFER_HEAD(miniinfer_copy_attrs);
  attrs_.region_count = static_cast<std::uint32_t>(regions_.size());
  attrs_.regions = pointers_.data();
}

CopyRegions::CopyRegions(std::vector<miniinfer_copy_region> regions, std::uint64_t fill_bits)
    : CopyRegions(std::move(regions)) {
  attrs_.fill = 1;
  attrs_.fill_bits = fill_bits;
}

}  // namespace miniinfer
