#include "plugins/cuda/kernels/epilogue.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "miniinfer/abi/op/pointwise.h"
#include "miniinfer/sdk/reference/number.hpp"
#include "plugins/cuda/kernels/rows.hpp"

namespace miniinfer::cuda {
namespace {

double constant_value(std::uint64_t bits, miniinfer_dtype dtype) {
  return sdk::reference::with_type(dtype, [&](auto type) {
    using S = typename decltype(type)::Stored;
    return static_cast<double>(sdk::reference::load<S>(reinterpret_cast<const std::byte*>(&bits)));
  });
}

double gelu_tanh(double x) {
  constexpr double kRoot = 0.79788456080286535588;  // sqrt(2 / pi)
  return 0.5 * x * (1 + std::tanh(kRoot * (x + 0.044715 * x * x * x)));
}

// How far a formula may be from the exact one because its constants were rounded to the type.
double constants_tolerance(miniinfer_dtype dtype) {
  return dtype == MINIINFER_FLOAT16 ? 2e-3 : dtype == MINIINFER_BFLOAT16 ? 1e-2 : 1e-6;
}

// A program, read from its first instruction on. Registers are inputs, constants, results. A
// program over 16-bit floats may compute in float32 between casts: an epilogue does so anyway, and
// rounds once where the program rounds the product too.
class Reader {
 public:
  Reader(const sdk::Region& region, const EpilogueAbilities& abilities)
      : region_(region),
        attrs_(region.attrs<miniinfer_pointwise_attrs>(1)),
        abilities_(abilities),
        dtype_(region.out(0).dtype) {}

  bool read(Epilogue& epilogue) {
    if (attrs_.in_count != region_.in_count(1) || attrs_.out_count != 1) return false;
    current_ = find_produced();
    if (current_ < 0) return false;
    while (next_ < attrs_.code_count && (skip_widening() || add(epilogue) || skip_copy())) ++next_;
    if (next_ < attrs_.code_count && abilities_.gelu && is_gelu_tanh()) {
      epilogue.activation = Epilogue::Activation::kGeluTanh;
      return true;
    }
    while (next_ < attrs_.code_count && (clip(epilogue) || skip_copy())) ++next_;
    return next_ == attrs_.code_count && resolve(attrs_.out[0]) == current_;
  }

 private:
  const miniinfer_instruction& code() const { return attrs_.code[next_]; }
  bool is_input(int reg) const { return reg < static_cast<int>(attrs_.in_count); }
  bool is_constant(int reg) const {
    return !is_input(reg) && reg < static_cast<int>(attrs_.in_count + attrs_.constant_count);
  }
  double constant(int reg) const {
    const std::size_t i = static_cast<std::size_t>(reg) - attrs_.in_count;
    return constant_value(attrs_.constants[i],
                          static_cast<miniinfer_dtype>(attrs_.constant_dtypes[i]));
  }
  bool computes_in(miniinfer_dtype dtype) const {
    const bool narrow = dtype_ == MINIINFER_FLOAT16 || dtype_ == MINIINFER_BFLOAT16;
    return dtype == dtype_ || (narrow && dtype == MINIINFER_FLOAT32);
  }
  // What a register is but for casts from the operands' type to float32.
  int resolve(int reg) const {
    for (const auto& [wide, narrow] : widened_) {
      if (wide == reg) return narrow;
    }
    return reg;
  }
  int result() const { return static_cast<int>(attrs_.in_count + attrs_.constant_count + next_); }

  // The input that is the producer's output; -1 where there are none or several.
  int find_produced() const {
    int found = -1;
    for (std::uint32_t i = 0; i < attrs_.in_count; ++i) {
      if (region_.node(1).in[i] != region_.node(0).out[0]) continue;
      if (found >= 0) return -1;
      found = static_cast<int>(i);
    }
    return found;
  }

  // The other operand of a commutative instruction that reads the current value once; -1: none.
  int other() const {
    const int a = resolve(code().a), b = resolve(code().b);
    if (!computes_in(code().dtype) || (a == current_) == (b == current_)) return -1;
    return a == current_ ? b : a;
  }

  bool skip_widening() {
    if (code().op != MINIINFER_PW_CAST || !computes_in(code().dtype) || !is_input(code().a)) {
      return false;
    }
    if (region_.in(code().a, 1).dtype != dtype_) return false;
    widened_.emplace_back(result(), code().a);
    return true;
  }

  bool skip_copy() {
    const bool copies = code().op == MINIINFER_PW_COPY ||
                        (code().op == MINIINFER_PW_CAST && code().dtype == dtype_);
    if (!copies || resolve(code().a) != current_) return false;
    current_ = result();
    return true;
  }

  bool add(Epilogue& epilogue) {
    if (code().op != MINIINFER_PW_ADD) return false;
    const int operand = other();
    if (operand < 0 || !is_input(operand)) return false;
    const std::uint32_t index = region_.node(1).in[operand];
    const miniinfer_value& value = region_.value(index);
    if (value.dtype != dtype_ || (value.flags & MINIINFER_VALUE_HOST) != 0) return false;
    const int arg = region_.arg_of(index);
    if (arg < 0) return false;
    if (epilogue.bias < 0 && is_bias(value) && is_dense(value)) {
      epilogue.bias = arg;
    } else if (epilogue.residual < 0 && same_layout(value, region_.out(0, 1))) {
      epilogue.residual = arg;
      epilogue.residual_value = index;
    } else {
      return false;
    }
    current_ = result();
    return true;
  }

  bool is_bias(const miniinfer_value& value) const {
    const miniinfer_value& out = region_.out(0);
    if (value.rank != out.rank || abilities_.bias_axis < 0) return false;
    for (std::int32_t axis = 0; axis < value.rank; ++axis) {
      if (value.dims[axis] != (axis == abilities_.bias_axis ? out.dims[axis] : 1)) return false;
    }
    return true;
  }

  bool clip(Epilogue& epilogue) {
    const bool is_max = code().op == MINIINFER_PW_MAX;
    if (!is_max && code().op != MINIINFER_PW_MIN) return false;
    const int operand = other();
    if (operand < 0 || !is_constant(operand)) return false;
    const double bound = constant(operand);
    if (std::isnan(bound)) return false;
    double& limit = is_max ? epilogue.low : epilogue.high;
    limit = is_max ? std::max(limit, bound) : std::min(limit, bound);
    // With crossed limits the order would matter.
    if (epilogue.low > epilogue.high) return false;
    current_ = result();
    return true;
  }

  // Whether the rest of the program is the tanh form of GELU of the current value, however it is
  // written: sums, products and powers of it and one tanh are that function if they agree with it
  // at this many places.
  bool is_gelu_tanh() const {
    if (attrs_.code_count - next_ > kMostTerms) return false;
    int tanh_count = 0;
    for (std::uint32_t i = next_; i < attrs_.code_count; ++i) {
      const miniinfer_instruction& instruction = attrs_.code[i];
      if (!computes_in(instruction.dtype)) return false;
      switch (instruction.op) {
        case MINIINFER_PW_TANH:
          ++tanh_count;
          break;
        case MINIINFER_PW_ADD:
        case MINIINFER_PW_MUL:
        case MINIINFER_PW_DIV:
        case MINIINFER_PW_POW:
        case MINIINFER_PW_FMA:
        case MINIINFER_PW_CAST:
          break;
        default:
          return false;
      }
    }
    if (tanh_count != 1) return false;
    for (double x = -9.875; x < 10; x += 0.25) {
      double y;
      if (!evaluate(x, y)) return false;
      const double expected = gelu_tanh(x);
      const double error = std::fabs(y - expected);
      if (!(error <= constants_tolerance(dtype_) * std::max(1.0, std::fabs(expected)))) {
        return false;
      }
    }
    return true;
  }

  // The rest of the program as a function of the current value; false where it reads anything else.
  bool evaluate(double x, double& y) const {
    std::vector<double> results;
    const int first = result();
    bool known = true;
    const auto value = [&](int written) {
      const int reg = resolve(written);
      if (reg == current_) return x;
      if (is_constant(reg)) return constant(reg);
      if (reg >= first && reg < first + static_cast<int>(results.size())) {
        return results[static_cast<std::size_t>(reg - first)];
      }
      known = false;
      return 0.0;
    };
    for (std::uint32_t i = next_; i < attrs_.code_count; ++i) {
      const miniinfer_instruction& instruction = attrs_.code[i];
      const double a = value(instruction.a);
      if (instruction.op == MINIINFER_PW_TANH) {
        results.push_back(std::tanh(a));
        continue;
      }
      if (instruction.op == MINIINFER_PW_CAST) {
        results.push_back(a);
        continue;
      }
      const double b = value(instruction.b);
      switch (instruction.op) {
        case MINIINFER_PW_ADD:
          results.push_back(a + b);
          break;
        case MINIINFER_PW_MUL:
          results.push_back(a * b);
          break;
        case MINIINFER_PW_DIV:
          results.push_back(a / b);
          break;
        case MINIINFER_PW_POW:
          results.push_back(std::pow(a, b));
          break;
        default:
          results.push_back(a * b + value(instruction.c));
      }
    }
    y = value(attrs_.out[0]);
    return known;
  }

  static constexpr std::uint32_t kMostTerms = 16;

  const sdk::Region& region_;
  miniinfer_pointwise_attrs attrs_;
  EpilogueAbilities abilities_;
  miniinfer_dtype dtype_;
  int current_ = -1;
  std::uint32_t next_ = 0;                    // the instruction to be read
  std::vector<std::pair<int, int>> widened_;  // result, the input it is
};

}  // namespace

bool same_layout(const miniinfer_value& a, const miniinfer_value& b) {
  if (!same_shape(a, b) || a.block > 1 || b.block > 1) return false;
  for (std::int32_t axis = 0; axis < a.rank; ++axis) {
    if (a.dims[axis] != 1 && a.strides[axis] != b.strides[axis]) return false;
  }
  return true;
}

std::optional<Epilogue> recognise_epilogue(const sdk::Region& region,
                                           const EpilogueAbilities& abilities) {
  Epilogue epilogue;
  if (region.node_count() == 1) {
    epilogue.target = region.arg_out(0);
    return epilogue;
  }
  const miniinfer_value& produced = region.out(0);
  if (region.node_count() != 2 || region.op(1) != MINIINFER_POINTWISE || region.out_count(1) != 1 ||
      region.arg_out(0) >= 0) {
    return std::nullopt;
  }
  const miniinfer_value& out = region.out(0, 1);
  epilogue.target = region.arg_out(0, 1);
  if (epilogue.target < 0 || !is_real_float(produced.dtype) || out.dtype != produced.dtype ||
      !same_layout(out, produced)) {
    return std::nullopt;
  }
  if (!Reader(region, abilities).read(epilogue)) return std::nullopt;
  return epilogue;
}

}  // namespace miniinfer::cuda
