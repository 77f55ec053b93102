#pragma once

// pointwise/1: abi/op/pointwise.h.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "miniinfer/sdk/reference/operation.hpp"
#include "miniinfer/sdk/reference/pointwise_math.hpp"

namespace miniinfer::sdk::reference {

class Pointwise final : public Operation {
 public:
  Pointwise(const Region& region, std::uint32_t node) {
    const auto attrs = region.attrs<miniinfer_pointwise_attrs>(node);
    if (attrs.in_count != region.in_count(node) || attrs.out_count != region.out_count(node)) {
      fail(MINIINFER_INVALID_ARGUMENT,
           "a program of %u inputs and %u outputs on a node of %u and %u", attrs.in_count,
           attrs.out_count, region.in_count(node), region.out_count(node));
    }
    for (std::uint32_t i = 0; i < attrs.in_count; ++i) {
      inputs_.push_back(make_operand(region.in(i, node)));
      add_register(static_cast<std::uint32_t>(inputs_.back().dtype));
    }
    for (std::uint32_t i = 0; i < attrs.constant_count; ++i) {
      constants_.push_back(attrs.constants[i]);
      add_register(attrs.constant_dtypes[i]);
    }
    for (std::uint32_t i = 0; i < attrs.code_count; ++i) add_instruction(attrs.code[i]);
    for (std::uint32_t i = 0; i < attrs.out_count; ++i) {
      outputs_.push_back(make_operand(region.out(i, node)));
      out_registers_.push_back(check_register(attrs.out[i]));
      if (types_[attrs.out[i]] != outputs_.back().dtype) {
        fail(MINIINFER_INVALID_ARGUMENT, "output %u is %s, its register %s", i,
             dtype_name(outputs_.back().dtype), dtype_name(types_[attrs.out[i]]));
      }
    }
    if (outputs_.empty()) fail(MINIINFER_INVALID_ARGUMENT, "a program without outputs");
    for (const Operand& output : outputs_) {
      if (output.dims == outputs_[0].dims) continue;
      fail(MINIINFER_INVALID_ARGUMENT, "outputs of different shapes");
    }
    for (Operand& input : inputs_) broadcast(input);
  }

  void run(std::span<const std::byte* const> in, std::span<std::byte* const> out,
           const FaultSink& fault) const override {
    std::vector<std::uint64_t> registers(types_.size());
    std::copy(constants_.begin(), constants_.end(),
              registers.begin() + static_cast<std::ptrdiff_t>(inputs_.size()));
    for_each_index(outputs_[0].dims, [&](Index index) {
      // All inputs are read before an output is written: they may share memory.
      for (std::size_t i = 0; i < inputs_.size(); ++i) {
        registers[i] = 0;
        std::memcpy(&registers[i], in[i] + inputs_[i].offset(index),
                    static_cast<std::size_t>(inputs_[i].bytes));
      }
      std::size_t next = inputs_.size() + constants_.size();
      for (const miniinfer_instruction& instruction : code_) {
        registers[next++] = evaluate(instruction, registers, fault);
      }
      for (std::size_t o = 0; o < outputs_.size(); ++o) {
        std::memcpy(out[o] + outputs_[o].offset(index), &registers[out_registers_[o]],
                    static_cast<std::size_t>(outputs_[o].bytes));
      }
    });
  }

 private:
  static bool gives_bool(std::uint16_t op) {
    return (op >= MINIINFER_PW_IS_NAN && op <= MINIINFER_PW_IS_NEGATIVE_INF) ||
           (op >= MINIINFER_PW_EQUAL && op <= MINIINFER_PW_LESS_EQUAL);
  }

  void add_register(std::uint32_t dtype) {
    if (!is_numeric(dtype)) {
      fail(MINIINFER_UNSUPPORTED, "pointwise on %s is not implemented",
           dtype_name(static_cast<miniinfer_dtype>(dtype)));
    }
    types_.push_back(static_cast<miniinfer_dtype>(dtype));
  }

  std::uint16_t check_register(std::uint16_t number) const {
    if (number >= types_.size()) {
      fail(MINIINFER_INVALID_ARGUMENT, "register %u is read where there are %zu", number,
           types_.size());
    }
    return number;
  }

  void add_instruction(const miniinfer_instruction& instruction) {
    const std::uint16_t op = instruction.op;
    const bool known = op <= MINIINFER_PW_IS_NEGATIVE_INF ||
                       (op >= MINIINFER_PW_ADD && op <= MINIINFER_PW_LESS_EQUAL) ||
                       op == MINIINFER_PW_SELECT || op == MINIINFER_PW_FMA;
    if (!known) fail(MINIINFER_UNSUPPORTED, "pointwise opcode %u is not known", op);
    check_register(instruction.a);
    check_register(instruction.b);
    check_register(instruction.c);
    check_type(instruction);
    code_.push_back(instruction);
    if (gives_bool(op)) {
      add_register(MINIINFER_BOOL);
    } else {
      add_register(instruction.dtype);
    }
  }

  void check_type(const miniinfer_instruction& instruction) const {
    const std::uint16_t op = instruction.op;
    if (!is_numeric(instruction.dtype)) {
      fail(MINIINFER_UNSUPPORTED, "pointwise in %s is not implemented",
           dtype_name(instruction.dtype));
    }
    const bool is_float = with_type(
        instruction.dtype, [](auto type) { return kIsFloat<typename decltype(type)::Stored>; });
    const bool bits = (op >= MINIINFER_PW_AND && op <= MINIINFER_PW_SHIFT_RIGHT) ||
                      op == MINIINFER_PW_NOT || op == MINIINFER_PW_BIT_NOT;
    if (bits == is_float && (bits || is_function(op))) {
      fail(MINIINFER_UNSUPPORTED, "pointwise opcode %u in %s is not defined", op,
           dtype_name(instruction.dtype));
    }
  }

  // Strides over the output's index: 0 where the input's axis of size 1 meets a larger one.
  void broadcast(Operand& input) const {
    const std::vector<std::int64_t>& dims = outputs_[0].dims;
    bool fits = input.rank() == dims.size();
    for (std::size_t axis = 0; fits && axis < dims.size(); ++axis) {
      fits = input.dims[axis] == dims[axis] || input.dims[axis] == 1;
      if (input.dims[axis] == 1) input.strides[axis] = 0;
    }
    if (!fits) fail(MINIINFER_INVALID_ARGUMENT, "an input does not broadcast to the output");
  }

  template <class S>
  static std::uint64_t to_bits(S stored) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &stored, sizeof stored);
    return bits;
  }
  template <class S>
  static S from_bits(std::uint64_t bits) {
    S stored;
    std::memcpy(&stored, &bits, sizeof stored);
    return stored;
  }

  template <class T>
  static bool is_infinite(T value) {
    if constexpr (std::is_floating_point_v<T>) return std::isinf(value);
    return false;
  }

  std::uint64_t evaluate(const miniinfer_instruction& instruction,
                         const std::vector<std::uint64_t>& registers,
                         const FaultSink& fault) const {
    const std::uint64_t a = registers[instruction.a];
    const std::uint64_t b = registers[instruction.b];
    const std::uint64_t c = registers[instruction.c];
    if (instruction.op == MINIINFER_PW_SELECT) return (a & 0xFF) != 0 ? b : c;
    if (instruction.op == MINIINFER_PW_CAST) {
      return evaluate_cast(types_[instruction.a], instruction.dtype, a);
    }
    return with_type(instruction.dtype, [&](auto type) {
      using S = typename decltype(type)::Stored;
      return evaluate_in<S>(instruction.op, a, b, c, fault);
    });
  }

  static std::uint64_t evaluate_cast(miniinfer_dtype from, miniinfer_dtype to, std::uint64_t bits) {
    return with_type(from, [&](auto from_type) {
      using From = typename decltype(from_type)::Stored;
      return with_type(to, [&](auto to_type) {
        using To = typename decltype(to_type)::Stored;
        return to_bits(convert<To>(from_bits<From>(bits)));
      });
    });
  }

  template <class S>
  static std::uint64_t evaluate_in(std::uint16_t op, std::uint64_t a_bits, std::uint64_t b_bits,
                                   std::uint64_t c_bits, const FaultSink& fault) {
    const auto a = Number<S>::load(from_bits<S>(a_bits));
    const auto b = Number<S>::load(from_bits<S>(b_bits));
    const auto c = Number<S>::load(from_bits<S>(c_bits));
    switch (op) {
      case MINIINFER_PW_COPY:
        return a_bits;
      case MINIINFER_PW_IS_NAN:
        return a != a ? 1 : 0;
      case MINIINFER_PW_IS_POSITIVE_INF:
        return is_infinite(a) && a > 0 ? 1 : 0;
      case MINIINFER_PW_IS_NEGATIVE_INF:
        return is_infinite(a) && a < 0 ? 1 : 0;
      case MINIINFER_PW_EQUAL:
        return a == b ? 1 : 0;
      case MINIINFER_PW_LESS:
        return a < b ? 1 : 0;
      case MINIINFER_PW_LESS_EQUAL:
        return a <= b ? 1 : 0;
      default:
        break;
    }
    if constexpr (kIsFloat<S>) {
      return to_bits(Number<S>::store(float_instruction(op, a, b, c)));
    } else {
      return to_bits(Number<S>::store(integer_instruction(op, a, b, c, fault)));
    }
  }

  std::vector<Operand> inputs_;
  std::vector<Operand> outputs_;
  std::vector<std::uint64_t> constants_;
  std::vector<miniinfer_dtype> types_;  // of each register
  std::vector<miniinfer_instruction> code_;
  std::vector<std::uint16_t> out_registers_;
};

}  // namespace miniinfer::sdk::reference
