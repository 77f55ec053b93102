#include "plugins/cuda/kernels/pointwise_program.hpp"

#include <algorithm>
#include <numeric>

#include "miniinfer/sdk/data_type.hpp"
#include "miniinfer/sdk/error.hpp"

namespace miniinfer::cuda {
namespace {

bool is_numeric(std::uint32_t dtype) {
  return dtype < 64 && ((sdk::kNumericTypes >> dtype) & 1) != 0;
}

bool is_float(int dtype) {
  return dtype == MINIINFER_FLOAT32 || dtype == MINIINFER_FLOAT16 || dtype == MINIINFER_BFLOAT16 ||
         dtype == MINIINFER_FLOAT64;
}

void add_register(PointwiseProgram& program, std::uint32_t dtype) {
  if (!is_numeric(dtype)) {
    sdk::fail(MINIINFER_UNSUPPORTED, "pointwise: type %s",
              sdk::dtype_name(static_cast<miniinfer_dtype>(dtype)));
  }
  program.types.push_back(static_cast<miniinfer_dtype>(dtype));
}

Operand read_operand(const miniinfer_value& value, const char* kind, std::uint32_t i) {
  if (value.block > 1) {
    sdk::fail(MINIINFER_UNSUPPORTED, "pointwise: %s %u lies in blocks of %d", kind, i, value.block);
  }
  if (value.rank > kMaxRank) {
    sdk::fail(MINIINFER_UNSUPPORTED, "pointwise: rank %d, at most %d", value.rank, kMaxRank);
  }
  if (sdk::is_absent(value)) {
    sdk::fail(MINIINFER_INVALID_ARGUMENT, "pointwise: %s %u is left out", kind, i);
  }
  return make_operand(value);
}

void check_instruction(const PointwiseProgram& program, const miniinfer_instruction& code) {
  const int op = code.op;
  const bool known = op <= MINIINFER_PW_IS_NEGATIVE_INF ||
                     (op >= MINIINFER_PW_ADD && op <= MINIINFER_PW_LESS_EQUAL) ||
                     op == MINIINFER_PW_SELECT || op == MINIINFER_PW_FMA;
  if (!known) sdk::fail(MINIINFER_UNSUPPORTED, "pointwise: opcode %d is not known", op);
  if (!is_numeric(code.dtype)) {
    sdk::fail(MINIINFER_UNSUPPORTED, "pointwise: type %s", sdk::dtype_name(code.dtype));
  }
  const std::uint16_t registers[] = {code.a, code.b, code.c};
  for (int i = 0; i < pointwise_arity(op); ++i) {
    if (registers[i] >= program.types.size()) {
      sdk::fail(MINIINFER_INVALID_ARGUMENT, "pointwise: register %u is read where there are %zu",
                registers[i], program.types.size());
    }
    const int wanted = op == MINIINFER_PW_SELECT && i == 0 ? int{MINIINFER_BOOL} : code.dtype;
    if (op != MINIINFER_PW_CAST && program.types[registers[i]] != wanted) {
      sdk::fail(MINIINFER_INVALID_ARGUMENT, "pointwise: opcode %d in %s reads a register of %s", op,
                sdk::dtype_name(code.dtype), sdk::dtype_name(program.types[registers[i]]));
    }
  }
  const bool function =
      op >= MINIINFER_PW_SQRT && op <= MINIINFER_PW_SOFTPLUS && op != MINIINFER_PW_RECIPROCAL;
  const bool bits = (op >= MINIINFER_PW_AND && op <= MINIINFER_PW_SHIFT_RIGHT) ||
                    op == MINIINFER_PW_NOT || op == MINIINFER_PW_BIT_NOT;
  if ((function && !is_float(code.dtype)) || (bits && is_float(code.dtype))) {
    sdk::fail(MINIINFER_UNSUPPORTED, "pointwise: opcode %d in %s is not defined", op,
              sdk::dtype_name(code.dtype));
  }
}

void merge_axes(PointwiseProgram& program) {
  const auto operands = static_cast<int>(program.operands.size());
  const Operand& out = program.operands[program.inputs];
  program.count = out.count;
  // Outer to inner as the output lies in memory, whatever order its axes have.
  int order[kMaxRank];
  std::iota(order, order + out.rank, 0);
  std::stable_sort(order, order + out.rank,
                   [&](int a, int b) { return out.strides[a] > out.strides[b]; });
  for (int i = 0; i < out.rank; ++i) {
    const int axis = order[i];
    std::int64_t steps[kMaxPointwiseOperands];
    for (int k = 0; k < operands; ++k) {
      const Operand& operand = program.operands[static_cast<std::size_t>(k)];
      steps[k] = operand.dims[axis] == 1 ? 0 : operand.strides[axis];
    }
    program.axes.push(out.dims[axis], steps, operands);
  }
  program.axes.merge(operands);
  for (const Operand& operand : program.operands) {
    program.small = program.small && operand.count < kSmall;
  }
}

}  // namespace

bool PointwiseProgram::is_direct(std::size_t operand) const {
  if (axes.rank == 0) return true;
  std::int64_t expected = 1;
  for (int axis = axes.rank - 1; axis >= 0; --axis) {
    if (axes.strides[operand][axis] != expected) return false;
    expected *= axes.dims[axis];
  }
  return true;
}

PointwiseProgram read_pointwise(const sdk::Region& region, std::uint32_t node) {
  const auto attrs = region.attrs<miniinfer_pointwise_attrs>(node);
  if (attrs.in_count != region.in_count(node) || attrs.out_count != region.out_count(node) ||
      attrs.out_count == 0) {
    sdk::fail(MINIINFER_INVALID_ARGUMENT,
              "pointwise: a program of %u inputs and %u outputs on a node of %u and %u",
              attrs.in_count, attrs.out_count, region.in_count(node), region.out_count(node));
  }
  if (attrs.in_count + attrs.out_count > kMaxPointwiseOperands ||
      attrs.code_count > MINIINFER_POINTWISE_MAX_CODE ||
      attrs.constant_count > kMaxPointwiseConstants) {
    sdk::fail(MINIINFER_UNSUPPORTED,
              "pointwise: %u operands, %u instructions, %u constants; at most %d, %d and %d",
              attrs.in_count + attrs.out_count, attrs.code_count, attrs.constant_count,
              kMaxPointwiseOperands, MINIINFER_POINTWISE_MAX_CODE, kMaxPointwiseConstants);
  }
  PointwiseProgram program;
  program.inputs = attrs.in_count;
  for (std::uint32_t i = 0; i < attrs.in_count; ++i) {
    program.operands.push_back(read_operand(region.in(i, node), "input", i));
    add_register(program, static_cast<std::uint32_t>(program.operands.back().dtype));
  }
  for (std::uint32_t i = 0; i < attrs.constant_count; ++i) {
    program.constants.push_back(attrs.constants[i]);
    add_register(program, attrs.constant_dtypes[i]);
  }
  for (std::uint32_t i = 0; i < attrs.code_count; ++i) {
    const miniinfer_instruction& code = attrs.code[i];
    check_instruction(program, code);
    program.code.push_back(code);
    add_register(program, pointwise_gives_bool(code.op) ? unsigned{MINIINFER_BOOL} : code.dtype);
  }
  for (std::uint32_t o = 0; o < attrs.out_count; ++o) {
    const Operand out = read_operand(region.out(o, node), "output", o);
    if (attrs.out[o] >= program.types.size() || program.types[attrs.out[o]] != out.dtype) {
      sdk::fail(MINIINFER_INVALID_ARGUMENT, "pointwise: output %u is %s, its register is not", o,
                sdk::dtype_name(out.dtype));
    }
    program.out.push_back(attrs.out[o]);
    program.operands.push_back(out);
  }
  const Operand& out = program.operands[program.inputs];
  for (std::size_t k = 0; k < program.operands.size(); ++k) {
    const Operand& operand = program.operands[k];
    bool fits = operand.rank == out.rank;
    for (int axis = 0; fits && axis < out.rank; ++axis) {
      const bool broadcast = k < program.inputs && operand.dims[axis] == 1;
      fits = operand.dims[axis] == out.dims[axis] || broadcast;
    }
    if (!fits) {
      sdk::fail(MINIINFER_INVALID_ARGUMENT,
                "pointwise: operand %zu does not fit the output's shape", k);
    }
  }
  merge_axes(program);
  return program;
}

}  // namespace miniinfer::cuda
