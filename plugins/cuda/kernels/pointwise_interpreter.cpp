#include "plugins/cuda/kernels/pointwise_interpreter.hpp"

#include <algorithm>
#include <vector>

#include "miniinfer/sdk/data_type.hpp"
#include "plugins/cuda/kernels/pointwise_program.hpp"

namespace miniinfer::cuda {
namespace {

ComputeKind kind_of(miniinfer_dtype dtype) {
  switch (dtype) {
    case MINIINFER_FLOAT32:
    case MINIINFER_FLOAT16:
    case MINIINFER_BFLOAT16:
      return ComputeKind::F32;
    case MINIINFER_FLOAT64:
      return ComputeKind::F64;
    case MINIINFER_INT64:
      return ComputeKind::I64;
    case MINIINFER_UINT64:
      return ComputeKind::U64;
    case MINIINFER_INT8:
    case MINIINFER_INT16:
    case MINIINFER_INT32:
      return ComputeKind::I32;
    default:
      return ComputeKind::U32;
  }
}

// Gives each register a slot from when it is made until it was last read. Inputs are loaded just
// before they are first read.
class SlotAssignment {
 public:
  SlotAssignment(const PointwiseProgram& program, InterpretedProgram& out)
      : program_(program), out_(out), slots_(program.types.size(), kNone) {
    last_use_.assign(program.types.size(), -1);
    for (std::size_t i = 0; i < program.code.size(); ++i) {
      for_each_operand(program.code[i],
                       [&](std::uint16_t r) { last_use_[r] = static_cast<int>(i); });
    }
    for (const std::uint16_t r : program.out) last_use_[r] = static_cast<int>(program.code.size());
  }

  void run() {
    const std::size_t first_result = program_.inputs + program_.constants.size();
    for (std::size_t i = 0; i < program_.code.size(); ++i) {
      const miniinfer_instruction& code = program_.code[i];
      for_each_operand(code, [&](std::uint16_t r) { place(r); });
      InterpretedInstruction step{};
      step.op = static_cast<std::uint8_t>(code.op);
      step.dtype = static_cast<std::uint8_t>(code.dtype);
      const miniinfer_dtype from =
          code.op == MINIINFER_PW_CAST ? program_.types[code.a] : miniinfer_dtype{code.dtype};
      step.kind = kind_of(from);
      step.bits = static_cast<std::uint8_t>(sdk::element_bytes(code.dtype) * 8);
      const int arity = pointwise_arity(code.op);
      step.a = place(code.a);
      step.b = arity > 1 ? place(code.b) : step.a;
      step.c = arity > 2 ? place(code.c) : step.a;
      if (code.op == MINIINFER_PW_COPY) {  // SELECT of equals moves any type
        step.op = MINIINFER_PW_SELECT;
        step.b = step.c = step.a;
      }
      for_each_operand(code, [&](std::uint16_t r) { release(r, static_cast<int>(i)); });
      const std::size_t result = first_result + i;
      slots_[result] = take();
      step.slot = slots_[result];
      out_.code[out_.code_count++] = step;
      release(static_cast<std::uint16_t>(result), static_cast<int>(i));
    }
    for (std::size_t o = 0; o < program_.out.size(); ++o) out_.out[o] = place(program_.out[o]);
    out_.slots = used_;
  }

 private:
  static constexpr std::uint16_t kNone = 0xFFFF;

  template <class F>
  static void for_each_operand(const miniinfer_instruction& code, const F& f) {
    const std::uint16_t registers[] = {code.a, code.b, code.c};
    for (int i = 0; i < pointwise_arity(code.op); ++i) f(registers[i]);
  }

  std::uint16_t take() {
    if (free_.empty()) return static_cast<std::uint16_t>(used_++);
    const std::uint16_t slot = free_.back();
    free_.pop_back();
    return slot;
  }

  std::uint16_t place(std::uint16_t r) {
    if (r >= program_.inputs && r < program_.inputs + program_.constants.size()) {
      return static_cast<std::uint16_t>(kFirstConstant + r - program_.inputs);
    }
    if (slots_[r] == kNone) {  // an input
      slots_[r] = take();
      InterpretedInstruction load{};
      load.op = kInterpretedLoad;
      load.dtype = static_cast<std::uint8_t>(program_.types[r]);
      load.a = r;
      load.slot = slots_[r];
      out_.code[out_.code_count++] = load;
    }
    return slots_[r];
  }

  void release(std::uint16_t r, int at) {
    if (slots_[r] == kNone || last_use_[r] > at) return;
    if (std::find(free_.begin(), free_.end(), slots_[r]) == free_.end()) free_.push_back(slots_[r]);
  }

  const PointwiseProgram& program_;
  InterpretedProgram& out_;
  std::vector<std::uint16_t> slots_;
  std::vector<int> last_use_;
  std::vector<std::uint16_t> free_;
  std::uint32_t used_ = 0;
};

}  // namespace

InterpretedProgram make_interpreted(const PointwiseProgram& program) {
  InterpretedProgram out{};
  out.inputs = program.inputs;
  out.outputs = program.outputs();
  out.rank = program.axes.rank;
  out.count = program.count;
  out.wide_index = program.small ? 0 : 1;
  for (int axis = 0; axis < out.rank; ++axis) {
    out.dims[axis] = program.axes.dims[axis];
    if (program.small && program.count > 0) {
      out.divisors[axis] = make_fast_divisor(static_cast<unsigned>(program.axes.dims[axis]));
    }
  }
  for (std::size_t k = 0; k < program.operands.size(); ++k) {
    out.dtypes[k] = static_cast<std::uint8_t>(program.operands[k].dtype);
    if (program.is_direct(k)) out.direct |= 1u << k;
    std::copy_n(program.axes.strides[k], out.rank, out.strides[k]);
  }
  for (std::size_t i = 0; i < program.constants.size(); ++i) {
    out.constants[i] =
        read_slot<unsigned long long>(&program.constants[i], 0, program.types[program.inputs + i]);
  }
  for (const miniinfer_dtype dtype : program.types) {
    if (sdk::element_bytes(dtype) == 8) out.wide_slots = 1;
  }
  SlotAssignment(program, out).run();
  return out;
}

}  // namespace miniinfer::cuda
