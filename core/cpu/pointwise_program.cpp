#include "core/cpu/pointwise_program.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "core/base/format.hpp"
#include "miniinfer/abi/op/pointwise.h"

namespace miniinfer::cpu {
namespace {

constexpr std::size_t kTileBytes = 24 * 1024;  // of all slots: what a first-level cache holds
constexpr std::int64_t kMaxTile = 1024;
constexpr std::int64_t kWholeTile = 1 << 20;  // where there is nothing to keep in the cache
constexpr std::int64_t kMinRow = 256;         // shorter rows are collected into one tile

bool is_half(int dtype) { return dtype == MINIINFER_FLOAT16 || dtype == MINIINFER_BFLOAT16; }

bool gives_bool(int op) {
  return (op >= MINIINFER_PW_IS_NAN && op <= MINIINFER_PW_IS_NEGATIVE_INF) ||
         (op >= MINIINFER_PW_EQUAL && op <= MINIINFER_PW_LESS_EQUAL);
}

int arity(int op) { return op >= MINIINFER_PW_SELECT ? 3 : op >= MINIINFER_PW_ADD ? 2 : 1; }

// What an instruction costs an element, roughly.
double cost_ns(int op, int dtype) {
  const bool wide = dtype == MINIINFER_FLOAT64 || dtype == MINIINFER_INT64;
  switch (op) {
    case MINIINFER_PW_EXP:
    case MINIINFER_PW_LOG:
    case MINIINFER_PW_TANH:
    case MINIINFER_PW_ERF:
    case MINIINFER_PW_SIGMOID:
    case MINIINFER_PW_SOFTPLUS:
    case MINIINFER_PW_SIN:
    case MINIINFER_PW_COS:
      return wide ? 10 : 0.7;
    case MINIINFER_PW_TAN:
    case MINIINFER_PW_ASIN:
    case MINIINFER_PW_ACOS:
    case MINIINFER_PW_ATAN:
    case MINIINFER_PW_SINH:
    case MINIINFER_PW_COSH:
    case MINIINFER_PW_ASINH:
    case MINIINFER_PW_ACOSH:
    case MINIINFER_PW_ATANH:
    case MINIINFER_PW_MOD:
    case MINIINFER_PW_FMOD:
    case MINIINFER_PW_POW:
      return 10;
    default:
      return wide ? 0.3 : 0.15;
  }
}

class Compiler {
 public:
  Compiler(const RegionView& region, std::uint32_t node, PointwiseProgram& out, std::string& why)
      : region_(region), node_(node), out_(out), why_(why), table_(primitives()) {}

  bool compile() {
    const auto& attrs = region_.attrs<miniinfer_pointwise_attrs>(node_);
    const miniinfer_node& node = region_.node(node_);
    if (attrs.in_count != node.in_count || attrs.out_count != node.out_count ||
        attrs.out_count == 0) {
      return refuse("a program of %u inputs and %u outputs on a node of %u and %u", attrs.in_count,
                    attrs.out_count, node.in_count, node.out_count);
    }
    if (attrs.in_count > PointwiseProgram::kMaxInputs ||
        attrs.out_count > PointwiseProgram::kMaxOutputs ||
        attrs.code_count > MINIINFER_POINTWISE_MAX_CODE || attrs.constant_count > 128) {
      return refuse("%u inputs, %u outputs, %u instructions and %u constants are too many",
                    attrs.in_count, attrs.out_count, attrs.code_count, attrs.constant_count);
    }
    if (!read_outputs() || !read_inputs()) return false;
    for (std::uint32_t i = 0; i < attrs.in_count; ++i) {
      registers_.push_back(add_value({Value::Input, i, region_.in(i, node_).dtype}));
    }
    for (std::uint32_t i = 0; i < attrs.constant_count; ++i) {
      if (!is_type(attrs.constant_dtypes[i])) return false;
      registers_.push_back(add_constant(attrs.constants[i], attrs.constant_dtypes[i]));
    }
    for (std::uint32_t i = 0; i < attrs.code_count; ++i) {
      if (!lower(attrs.code[i])) return false;
    }
    for (std::uint32_t o = 0; o < attrs.out_count; ++o) {
      if (attrs.out[o] >= registers_.size()) return refuse("output %u has no register", o);
      const int value = registers_[attrs.out[o]];
      const int dtype = region_.out(o, node_).dtype;
      if (values_[value].dtype != dtype) {
        return refuse("output %u is of type %d and its register of type %d", o, dtype,
                      values_[value].dtype);
      }
      outputs_.push_back(value);
    }
    find_clamp(attrs);
    return place();
  }

 private:
  struct Value {
    enum Kind : std::uint8_t { Input, Constant, Result } kind;
    std::uint32_t index;
    int dtype;
    int last_use = -1;  // step
    int place = PointwiseProgram::kNone;
  };
  struct Pending {
    int op;
    int dtype;  // the primitive's
    Primitive loop;
    int operands[3];  // values
    int count;
    int result;  // value, or -1 - output for the copies at the end
  };

  template <class... Args>
  bool refuse(const char* text, Args... args) {
    why_ = format(text, args...);
    return false;
  }

  bool is_type(int dtype) {
    if (dtype > 0 && dtype < kDtypes && table_.cast[dtype][MINIINFER_BOOL] != nullptr) return true;
    return refuse("element type %d is not served", dtype);
  }

  int add_value(Value value) {
    values_.push_back(value);
    return static_cast<int>(values_.size() - 1);
  }
  int add_constant(std::uint64_t bits, int dtype) {
    out_.constants.push_back(
        {bits, static_cast<std::uint8_t>(element_bytes(dtype)), PointwiseProgram::kNone});
    return add_value(
        {Value::Constant, static_cast<std::uint32_t>(out_.constants.size() - 1), dtype});
  }

  bool read_outputs() {
    const miniinfer_value& first = region_.out(0, node_);
    for (std::uint32_t o = 0; o < region_.node(node_).out_count; ++o) {
      const miniinfer_value& v = region_.out(o, node_);
      if (!is_type(v.dtype)) return false;
      if (v.block > 1) return refuse("output %u is blocked by %d", o, v.block);
      if (v.rank > MINIINFER_MAX_RANK) return refuse("rank %d", v.rank);
      std::int64_t stride = 1;
      for (int axis = v.rank - 1; axis >= 0; --axis) {
        if (v.rank != first.rank || v.dims[axis] != first.dims[axis]) {
          return refuse("output %u has another shape than output 0", o);
        }
        if (v.dims[axis] > 1 && v.strides[axis] != stride) {
          return refuse("output %u is not row-major", o);
        }
        stride *= v.dims[axis];
      }
      out_.output_bytes.push_back(static_cast<std::uint8_t>(element_bytes(v.dtype)));
    }
    out_.elements = element_count(first);
    return true;
  }

  bool read_inputs() {
    const miniinfer_value& to = region_.out(0, node_);
    std::int64_t row = out_.elements;  // the longest stretch along which no input changes its step
    for (std::uint32_t i = 0; i < region_.node(node_).in_count; ++i) {
      const miniinfer_value& v = region_.in(i, node_);
      if (!is_type(v.dtype)) return false;
      if (v.block > 1) return refuse("input %u is blocked by %d", i, v.block);
      if (v.rank != to.rank) return refuse("input %u has rank %d, not %d", i, v.rank, to.rank);
      PointwiseProgram::Input in{};
      in.bytes = static_cast<std::uint8_t>(element_bytes(v.dtype));
      in.tile = PointwiseProgram::kNone;
      for (int axis = 0; axis < v.rank; ++axis) {
        if (v.dims[axis] != to.dims[axis] && v.dims[axis] != 1) {
          return refuse("input %u does not broadcast to the output", i);
        }
        if (to.dims[axis] == 1) continue;
        const std::int64_t stride = v.dims[axis] == 1 ? 0 : v.strides[axis] * in.bytes;
        if (in.rank > 0 && in.strides[in.rank - 1] == stride * to.dims[axis]) {
          in.dims[in.rank - 1] *= to.dims[axis];
          in.strides[in.rank - 1] = stride;
        } else {
          in.dims[in.rank] = to.dims[axis];
          in.strides[in.rank++] = stride;
        }
      }
      const std::int64_t inner = in.rank == 0 ? 0 : in.strides[in.rank - 1];
      if (out_.elements == 1 || (in.rank == 1 && inner == in.bytes)) {
        in.mode = PointwiseProgram::Input::Direct;
      } else if (in.rank == 0 || (in.rank == 1 && inner == 0)) {
        in.mode = PointwiseProgram::Input::Single;
      } else {
        in.mode = PointwiseProgram::Input::Row;
        row = std::min(row, in.dims[in.rank - 1]);
      }
      out_.inputs.push_back(in);
    }
    out_.row = row >= kMinRow && row < out_.elements ? row : 0;
    // A row of one input divides those of the others only if they nest; otherwise collect.
    for (const auto& in : out_.inputs) {
      if (in.mode != PointwiseProgram::Input::Row) continue;
      if (row >= kMinRow && in.dims[in.rank - 1] % row != 0) out_.row = 0;
    }
    rows_are_whole_ = out_.row != 0 || row == out_.elements;
    return true;
  }

  // --- instructions ---

  int emit(int op, int dtype, int result_dtype, Primitive loop, int a, int b, int c, int count) {
    out_.element_ns += cost_ns(op, dtype);
    const int result = add_value({Value::Result, 0, result_dtype});
    pending_.push_back({op, dtype, loop, {a, b, c}, count, result});
    return result;
  }

  int emit_cast(int value, int to) {
    const int from = values_[value].dtype;
    if (from == to) return value;
    const auto known = casts_.find({value, to});
    if (known != casts_.end()) return known->second;
    int result;
    if (values_[value].kind == Value::Constant) {
      std::uint64_t bits = 0;
      table_.cast[from][to](&bits, &out_.constants[values_[value].index].bits, nullptr, nullptr, 1);
      result = add_constant(bits, to);
    } else {
      result = emit(MINIINFER_PW_CAST, from, to, table_.cast[from][to], value, value, value, 1);
    }
    casts_[{value, to}] = result;
    return result;
  }

  bool lower(const miniinfer_instruction& code) {
    const int op = code.op;
    const int dtype = code.dtype;
    if (!is_type(dtype)) return false;
    const std::uint16_t regs[3] = {code.a, code.b, code.c};
    int operands[3];
    for (int i = 0; i < 3; ++i) {
      if (regs[i] >= registers_.size()) {
        return refuse("an instruction reads register %u of %zu", regs[i], registers_.size());
      }
      operands[i] = registers_[regs[i]];
    }
    if (op == MINIINFER_PW_CAST) {
      registers_.push_back(emit_cast(operands[0], dtype));
      return true;
    }
    const int count = arity(op);
    for (int i = 0; i < count; ++i) {
      const int wanted = op == MINIINFER_PW_SELECT && i == 0 ? int{MINIINFER_BOOL} : dtype;
      if (values_[operands[i]].dtype != wanted) {
        return refuse("opcode %d of type %d reads a register of type %d", op, dtype,
                      values_[operands[i]].dtype);
      }
    }
    for (int i = count; i < 3; ++i) operands[i] = operands[0];
    const bool moves = op == MINIINFER_PW_COPY || op == MINIINFER_PW_SELECT;
    const int computed = is_half(dtype) && !moves ? int{MINIINFER_FLOAT32} : dtype;
    const Primitive loop = op < kOpCodes ? table_.op[op][computed] : nullptr;
    if (loop == nullptr) return refuse("opcode %d of type %d is not served", op, dtype);
    if (computed != dtype) {
      for (int i = 0; i < count; ++i) operands[i] = emit_cast(operands[i], computed);
      for (int i = count; i < 3; ++i) operands[i] = operands[0];
    }
    if (op == MINIINFER_PW_COPY) {
      registers_.push_back(operands[0]);
      return true;
    }
    int result;
    if (op == MINIINFER_PW_POW && is_constant(operands[1], computed, 2.0)) {
      result = emit_multiply(operands[0], operands[0], computed);
    } else {
      result = emit(op, computed, gives_bool(op) ? int{MINIINFER_BOOL} : computed, loop,
                    operands[0], operands[1], operands[2], count);
    }
    if (computed != dtype && !gives_bool(op)) result = emit_cast(result, dtype);
    registers_.push_back(result);
    return true;
  }

  int emit_multiply(int a, int b, int dtype) {
    return emit(MINIINFER_PW_MUL, dtype, dtype, table_.op[MINIINFER_PW_MUL][dtype], a, b, a, 2);
  }

  bool is_constant(int value, int dtype, double wanted) const {
    if (values_[value].kind != Value::Constant) return false;
    const std::uint64_t bits = out_.constants[values_[value].index].bits;
    if (dtype == MINIINFER_FLOAT32) {
      return std::bit_cast<float>(static_cast<std::uint32_t>(bits)) == wanted;
    }
    return dtype == MINIINFER_FLOAT64 && std::bit_cast<double>(bits) == wanted;
  }

  // --- places ---

  // One element for a whole tile.
  bool is_single(int value) const {
    const Value& v = values_[value];
    if (v.kind == Value::Constant) return true;
    if (v.kind != Value::Input) return false;
    const auto& in = out_.inputs[v.index];
    if (in.mode == PointwiseProgram::Input::Single) return true;
    return in.mode == PointwiseProgram::Input::Row && rows_are_whole_ &&
           in.strides[in.rank - 1] == 0;
  }

  int& tile_of(const Value& v) {
    return v.kind == Value::Constant ? out_.constants[v.index].tile : out_.inputs[v.index].tile;
  }

  // The place of an operand as an array of elements. Slots that stay get numbers first.
  int array_place(int value) {
    Value& v = values_[value];
    if (v.kind == Value::Result) return v.place;
    bool direct = false;
    if (v.kind == Value::Input) {
      const auto& in = out_.inputs[v.index];
      direct = in.mode == PointwiseProgram::Input::Direct ||
               (in.mode == PointwiseProgram::Input::Row && rows_are_whole_ &&
                in.strides[in.rank - 1] == in.bytes);
    }
    if (direct) return static_cast<int>(v.index);
    int& tile = tile_of(v);
    if (tile == PointwiseProgram::kNone) {
      tile = static_cast<int>(out_.slot_place(out_.slots++));
    }
    return tile;
  }

  int single_place(int value) const {
    const Value& v = values_[value];
    return static_cast<int>(v.kind == Value::Constant ? out_.constant_place(v.index) : v.index);
  }

  bool place() {
    const int outputs = static_cast<int>(outputs_.size());
    // Inputs that go straight to an output are read before any output is written: outputs may share
    // memory with other inputs.
    if (outputs > 1) {
      for (int& value : outputs_) {
        if (values_[value].kind == Value::Input) {
          value = emit(MINIINFER_PW_COPY, values_[value].dtype, values_[value].dtype,
                       table_.op[MINIINFER_PW_COPY][values_[value].dtype], value, value, value, 1);
        }
      }
    }
    int last_input = -1;  // the step after which no input is read
    const int body = static_cast<int>(pending_.size());
    for (int s = 0; s < body; ++s) {
      for (int i = 0; i < pending_[s].count; ++i) {
        Value& v = values_[pending_[s].operands[i]];
        v.last_use = s;
        if (v.kind == Value::Input) last_input = s;
      }
    }
    // Results that can be written where they belong; the rest is copied there at the end.
    std::vector<int> maker(values_.size(), -1);
    for (int s = 0; s < body; ++s) maker[pending_[s].result] = s;
    std::vector<bool> written(outputs_.size(), false);
    for (int o = 0; o < outputs; ++o) {
      Value& v = values_[outputs_[o]];
      if (v.kind == Value::Result && v.place == PointwiseProgram::kNone &&
          maker[outputs_[o]] >= last_input) {
        v.place = static_cast<int>(out_.output_place(static_cast<std::uint32_t>(o)));
        written[o] = true;
      }
    }
    for (int o = 0; o < outputs; ++o) {
      if (written[o]) continue;
      const int value = outputs_[o];
      const int dtype = values_[value].dtype;
      out_.element_ns += cost_ns(MINIINFER_PW_COPY, dtype);
      pending_.push_back({MINIINFER_PW_COPY,
                          dtype,
                          table_.op[MINIINFER_PW_COPY][dtype],
                          {value, value, value},
                          1,
                          -1 - o});
      values_[value].last_use = static_cast<int>(pending_.size());
    }
    // First pass: the slots that stay, so that the others come after them.
    for (const Pending& p : pending_) {
      const int scalar = scalar_operand(p);
      for (int i = 0; i < p.count; ++i) {
        if (i != scalar && values_[p.operands[i]].kind != Value::Result) array_place(p.operands[i]);
      }
    }
    std::vector<int> free_slots;
    for (int s = 0; s < static_cast<int>(pending_.size()); ++s) {
      const Pending& p = pending_[s];
      PointwiseProgram::Step step{p.loop, 0, 0, 0, 0};
      if (p.result < 0) {
        step.out = static_cast<std::uint16_t>(
            out_.output_place(static_cast<std::uint32_t>(-1 - p.result)));
      } else {
        Value& result = values_[p.result];
        if (result.place == PointwiseProgram::kNone) {
          if (free_slots.empty()) {
            result.place = static_cast<int>(out_.slot_place(out_.slots++));
          } else {
            result.place = free_slots.back();
            free_slots.pop_back();
          }
        }
        step.out = static_cast<std::uint16_t>(result.place);
      }
      const int scalar = scalar_operand(p);
      if (scalar >= 0) step.loop = table_.scalar[p.op][scalar];
      std::uint16_t places[3];
      for (int i = 0; i < 3; ++i) {
        const int k = i < p.count ? i : 0;
        places[i] = static_cast<std::uint16_t>(k == scalar ? single_place(p.operands[k])
                                                           : array_place(p.operands[k]));
      }
      step.a = places[0];
      step.b = places[1];
      step.c = places[2];
      out_.steps.push_back(step);
      release(p, s, free_slots);
    }
    if (out_.slot_place(out_.slots) > PointwiseProgram::kMaxPlaces) {
      return refuse("the program needs %u tiles", out_.slots);
    }
    choose_tile();
    return true;
  }

  void release(const Pending& p, int s, std::vector<int>& free_slots) {
    const auto give_back = [&](int value) {
      const Value& v = values_[value];
      if (v.kind != Value::Result || v.last_use > s ||
          v.place < static_cast<int>(out_.slot_place(0))) {
        return;
      }
      if (std::find(free_slots.begin(), free_slots.end(), v.place) == free_slots.end()) {
        free_slots.push_back(v.place);
      }
    };
    for (int i = 0; i < p.count; ++i) give_back(p.operands[i]);
    if (p.result >= 0) give_back(p.result);  // nobody reads it
  }

  // Which operand a loop with a single element can take as one; -1: none.
  int scalar_operand(const Pending& p) const {
    if (p.count != 2 || p.dtype != MINIINFER_FLOAT32 || table_.scalar[p.op][0] == nullptr) {
      return -1;
    }
    const bool a = is_single(p.operands[0]);
    const bool b = is_single(p.operands[1]);
    return a == b ? -1 : a ? 0 : 1;
  }

  void choose_tile() {
    std::size_t widest = 1;
    for (const Value& v : values_) widest = std::max(widest, element_bytes(v.dtype));
    std::int64_t tile = kWholeTile;
    if (out_.slots > 0) {
      tile = static_cast<std::int64_t>(kTileBytes / (out_.slots * widest)) / 64 * 64;
      tile = std::clamp<std::int64_t>(tile, 64, kMaxTile);
    }
    out_.tile = tile;
    out_.slot_bytes = static_cast<std::size_t>(
                          out_.slots == 0 ? 0 : std::min(tile, (out_.elements + 63) / 64 * 64)) *
                      widest;
  }

  void find_clamp(const miniinfer_pointwise_attrs& attrs) {
    if (attrs.in_count < 1 || attrs.in_count > 2 || attrs.out_count != 1 || attrs.code_count == 0 ||
        attrs.out[0] + 1u != registers_.size()) {
      return;
    }
    const std::uint32_t first = attrs.in_count + attrs.constant_count;  // result
    float low = -std::numeric_limits<float>::infinity();
    float high = std::numeric_limits<float>::infinity();
    std::uint16_t chain = 0;
    std::uint32_t begin = 0;
    if (attrs.in_count == 2) {
      const miniinfer_instruction& add = attrs.code[0];
      if (add.op != MINIINFER_PW_ADD || add.dtype != MINIINFER_FLOAT32) return;
      if (add.a + add.b != 1) return;  // registers 0 and 1
      chain = static_cast<std::uint16_t>(first);
      begin = 1;
    }
    for (std::uint32_t i = begin; i < attrs.code_count; ++i) {
      const miniinfer_instruction& code = attrs.code[i];
      const bool is_max = code.op == MINIINFER_PW_MAX;
      if ((!is_max && code.op != MINIINFER_PW_MIN) || code.dtype != MINIINFER_FLOAT32) return;
      if ((code.a == chain) == (code.b == chain)) return;
      const std::uint16_t other = code.a == chain ? code.b : code.a;
      if (other < attrs.in_count || other >= first) return;
      const float bound =
          std::bit_cast<float>(static_cast<std::uint32_t>(attrs.constants[other - attrs.in_count]));
      if (std::isnan(bound)) return;
      // max(min(x, h), l) is min(max(x, l), h) only where l <= h.
      if (is_max) low = std::max(low, bound);
      if (!is_max) high = std::min(high, bound);
      if (low > high) return;
      chain = static_cast<std::uint16_t>(first + i);
    }
    out_.is_clamp = true;
    out_.low = low;
    out_.high = high;
  }

  const RegionView& region_;
  std::uint32_t node_;
  PointwiseProgram& out_;
  std::string& why_;
  const PrimitiveTable& table_;
  bool rows_are_whole_ = false;
  std::vector<Value> values_;
  std::vector<int> registers_;  // values
  std::vector<int> outputs_;    // values
  std::vector<Pending> pending_;
  std::map<std::pair<int, int>, int> casts_;
};

}  // namespace

bool compile(const RegionView& region, std::uint32_t node, PointwiseProgram* out,
             std::string* why) {
  return Compiler(region, node, *out, *why).compile();
}

}  // namespace miniinfer::cpu
