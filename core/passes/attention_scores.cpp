#include "core/passes/attention_scores.hpp"

#include <algorithm>
#include <cstring>

#include "core/base/float16.hpp"
#include "core/ops/kernel_attrs.hpp"
#include "miniinfer/abi/op/pointwise.h"

namespace miniinfer {
namespace {

constexpr double kVeryLow = -1e30;

bool is_float(std::uint16_t dtype) {
  const auto type = static_cast<DataType>(dtype);
  return type == DataType::Float32 || type == DataType::Float16 || type == DataType::BFloat16;
}

const PointwiseProgram& program_of(const Node& node) {
  return static_cast<const PointwiseProgram&>(*node.kernel);
}

std::vector<std::uint16_t> operands_of(const miniinfer_instruction& in) {
  if (in.op >= MINIINFER_PW_SELECT) return {in.a, in.b, in.c};
  if (in.op >= MINIINFER_PW_ADD) return {in.a, in.b};
  return {in.a};
}

// A program's registers, of which some stand for scores.
class Reader {
 public:
  explicit Reader(const PointwiseProgram& program) : program_(program) {}

  std::uint16_t constants_begin() const { return static_cast<std::uint16_t>(program_.inputs()); }
  std::uint16_t code_begin() const {
    return static_cast<std::uint16_t>(program_.inputs() + program_.constants().size());
  }

  std::optional<double> number(std::uint16_t reg) const {
    if (reg < constants_begin() || reg >= code_begin()) return {};
    const std::size_t i = reg - constants_begin();
    const std::uint64_t bits = program_.constants()[i];
    switch (static_cast<DataType>(program_.constant_dtypes()[i])) {
      case DataType::Float32: {
        float value;
        std::memcpy(&value, &bits, sizeof value);
        return static_cast<double>(value);
      }
      case DataType::Float16:
        return static_cast<double>(float_from_half(static_cast<std::uint16_t>(bits)));
      case DataType::BFloat16:
        return static_cast<double>(float_from_bfloat(static_cast<std::uint16_t>(bits)));
      default:
        return {};
    }
  }

 private:
  const PointwiseProgram& program_;
};

}  // namespace

std::optional<ScoreProgram> read_scores(const Node& node, ValueId scores, DataType dtype) {
  const PointwiseProgram& program = program_of(node);
  if (program.outputs().size() != 1) return {};
  const Reader reader(program);
  const std::uint16_t code = reader.code_begin();
  const std::size_t registers = code + program.code().size();

  // Which registers depend on the scores, and the mask's program under construction: everything
  // that does not, in the same order.
  std::vector<bool> depends(registers, false);
  std::vector<std::uint32_t> new_input(program.inputs(), 0);
  ScoreProgram result;
  for (std::uint32_t i = 0; i < program.inputs(); ++i) {
    if (node.inputs[i] == scores) {
      depends[i] = true;
    } else {
      new_input[i] = static_cast<std::uint32_t>(result.mask_inputs.size());
      result.mask_inputs.push_back(node.inputs[i]);
    }
  }
  PointwiseBuilder mask(static_cast<std::uint32_t>(result.mask_inputs.size()));
  std::vector<PointwiseBuilder::Reg> results(registers);
  const auto made = [&](std::uint16_t r) {
    if (r < program.inputs()) return mask.input(new_input[r]);
    if (r >= code) return results[r];
    const std::size_t i = r - reader.constants_begin();
    return mask.constant_bits(static_cast<DataType>(program.constant_dtypes()[i]),
                              program.constants()[i]);
  };

  // Each register that depends: scale * score + added.
  struct Line {
    double scale = 1;
    std::optional<PointwiseBuilder::Reg> added;
    DataType added_type = DataType::Undefined;
  };
  std::vector<Line> lines(registers);
  for (std::size_t i = 0; i < program.code().size(); ++i) {
    const miniinfer_instruction& in = program.code()[i];
    const std::size_t r = code + i;
    const std::vector<std::uint16_t> operands = operands_of(in);
    const bool any =
        std::ranges::any_of(operands, [&](std::uint16_t operand) { return depends[operand]; });
    if (!any) {
      results[r] = mask.emit(in.op, static_cast<DataType>(in.dtype), made(in.a),
                             operands.size() > 1 ? made(in.b) : PointwiseBuilder::Reg{},
                             operands.size() > 2 ? made(in.c) : PointwiseBuilder::Reg{});
      continue;
    }
    depends[r] = true;
    if (!is_float(in.dtype)) return {};
    Line& line = lines[r];
    const auto add = [&](const Line& to, PointwiseBuilder::Reg what) {
      line = to;
      const auto type = static_cast<DataType>(in.dtype);
      if (line.added) {
        auto before = *line.added;
        if (line.added_type != type) before = mask.emit(MINIINFER_PW_CAST, type, before);
        what = mask.emit(MINIINFER_PW_ADD, type, before, what);
      }
      line.added = what;
      line.added_type = type;
    };
    // Scaling what was added too is written by no exporter.
    const auto scale = [&](std::uint16_t of, std::uint16_t by, bool divide) {
      const std::optional<double> number = reader.number(by);
      if (!number || lines[of].added || (divide && *number == 0)) return false;
      line = lines[of];
      line.scale = divide ? line.scale / *number : line.scale * *number;
      return true;
    };
    switch (in.op) {
      case MINIINFER_PW_COPY:
      case MINIINFER_PW_CAST:
        line = lines[in.a];
        break;
      case MINIINFER_PW_MUL:
        if (depends[in.a] && depends[in.b]) return {};
        if (!(depends[in.a] ? scale(in.a, in.b, false) : scale(in.b, in.a, false))) return {};
        break;
      case MINIINFER_PW_DIV:
        if (depends[in.b] || !scale(in.a, in.b, true)) return {};
        break;
      case MINIINFER_PW_ADD:
        if (depends[in.a] && depends[in.b]) return {};
        depends[in.a] ? add(lines[in.a], made(in.b)) : add(lines[in.b], made(in.a));
        break;
      case MINIINFER_PW_SELECT: {
        if (depends[in.a] || depends[in.b] == depends[in.c]) return {};
        const bool first = depends[in.b];  // the scores, where the condition holds
        const std::optional<double> low = reader.number(first ? in.c : in.b);
        if (!low || !(*low <= kVeryLow)) return {};
        const auto type = static_cast<DataType>(in.dtype);
        const auto zero = mask.constant(type, 0), lowest = mask.constant(type, *low);
        add(lines[first ? in.b : in.c], mask.emit(MINIINFER_PW_SELECT, type, made(in.a),
                                                  first ? zero : lowest, first ? lowest : zero));
        break;
      }
      default:
        return {};
    }
  }
  const std::uint16_t out = program.outputs()[0];
  if (!depends[out]) return {};
  result.scale = lines[out].scale;
  if (!lines[out].added) {
    result.mask_inputs.clear();
    return result;
  }
  PointwiseBuilder::Reg added = *lines[out].added;
  if (result.mask_inputs.empty()) return {};
  result.mask_is_input = added.kind == PointwiseBuilder::Reg::Input &&
                         result.mask_inputs.size() == 1 && lines[out].added_type == dtype;
  if (added.kind == PointwiseBuilder::Reg::Input || lines[out].added_type != dtype) {
    added = mask.emit(lines[out].added_type != dtype ? MINIINFER_PW_CAST : MINIINFER_PW_COPY, dtype,
                      added);
  }
  result.mask = mask.finish({added});
  return result;
}

std::optional<double> read_factor(const Node& node) {
  const PointwiseProgram& program = program_of(node);
  if (program.inputs() != 1 || program.outputs().size() != 1 || program.code().size() != 1) {
    return {};
  }
  const Reader reader(program);
  const miniinfer_instruction& in = program.code()[0];
  if (program.outputs()[0] != reader.code_begin() || !is_float(in.dtype)) return {};
  if (in.op == MINIINFER_PW_MUL && (in.a == 0) != (in.b == 0)) {
    return reader.number(in.a == 0 ? in.b : in.a);
  }
  if (in.op == MINIINFER_PW_DIV && in.a == 0 && in.b != 0) {
    const std::optional<double> by = reader.number(in.b);
    return by && *by != 0 ? std::optional(1 / *by) : std::nullopt;
  }
  return {};
}

std::optional<bool> read_probabilities(const Node& node) {
  const PointwiseProgram& program = program_of(node);
  if (program.inputs() != 1 || program.outputs().size() != 1) return {};
  const Reader reader(program);
  // Which registers are the probabilities, and which say whether they are NaN.
  enum Kind { Other, Itself, IsNan, Zeroed };
  std::vector<Kind> kinds(reader.code_begin() + program.code().size(), Other);
  kinds[0] = Itself;
  for (std::size_t i = 0; i < program.code().size(); ++i) {
    const miniinfer_instruction& in = program.code()[i];
    Kind& kind = kinds[reader.code_begin() + i];
    if ((in.op == MINIINFER_PW_CAST || in.op == MINIINFER_PW_COPY) && is_float(in.dtype)) {
      kind = kinds[in.a] == IsNan ? Other : kinds[in.a];
    } else if (in.op == MINIINFER_PW_IS_NAN && kinds[in.a] == Itself) {
      kind = IsNan;
    } else if (in.op == MINIINFER_PW_SELECT && kinds[in.a] == IsNan && kinds[in.c] == Itself &&
               reader.number(in.b) == 0.0) {
      kind = Zeroed;
    }
  }
  const Kind out = kinds[program.outputs()[0]];
  if (out == Itself) return false;
  return out == Zeroed ? std::optional(true) : std::nullopt;
}

}  // namespace miniinfer
