#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "miniinfer/abi/op/pointwise.h"
#include "tests/cpu/random_data.hpp"

namespace miniinfer::test {

// A program as vectors, with the attributes that point to them.
struct Program {
  std::vector<int> in_types;
  std::vector<std::uint64_t> constants;
  std::vector<std::uint16_t> constant_types;
  std::vector<miniinfer_instruction> code;
  std::vector<std::uint16_t> out;
  std::vector<int> types;  // of registers
  miniinfer_pointwise_attrs attrs{};

  std::uint16_t input(int dtype) {
    in_types.push_back(dtype);
    return add(dtype);
  }
  std::uint16_t constant(int dtype, std::uint64_t bits) {
    constants.push_back(bits);
    constant_types.push_back(static_cast<std::uint16_t>(dtype));
    return add(dtype);
  }
  std::uint16_t emit(int op, int dtype, std::uint16_t a, std::uint16_t b = 0, std::uint16_t c = 0) {
    code.push_back({static_cast<std::uint16_t>(op), static_cast<std::uint16_t>(dtype), a, b, c, 0});
    const bool to_bool = (op >= MINIINFER_PW_IS_NAN && op <= MINIINFER_PW_IS_NEGATIVE_INF) ||
                         (op >= MINIINFER_PW_EQUAL && op <= MINIINFER_PW_LESS_EQUAL);
    return add(to_bool ? int{MINIINFER_BOOL} : dtype);
  }
  miniinfer_pointwise_attrs* finish(std::vector<std::uint16_t> outputs) {
    out = std::move(outputs);
    attrs.in_count = static_cast<std::uint32_t>(in_types.size());
    attrs.constant_count = static_cast<std::uint32_t>(constants.size());
    attrs.code_count = static_cast<std::uint32_t>(code.size());
    attrs.out_count = static_cast<std::uint32_t>(out.size());
    attrs.constants = constants.data();
    attrs.constant_dtypes = constant_types.data();
    attrs.code = code.data();
    attrs.out = out.data();
    return &attrs;
  }

 private:
  std::uint16_t add(int dtype) {
    types.push_back(dtype);
    return static_cast<std::uint16_t>(types.size() - 1);
  }
};

inline bool is_float_type(int dtype) {
  return dtype == MINIINFER_FLOAT32 || dtype == MINIINFER_FLOAT64 || dtype == MINIINFER_FLOAT16 ||
         dtype == MINIINFER_BFLOAT16;
}

inline constexpr int kFunctions[] = {
    MINIINFER_PW_SQRT, MINIINFER_PW_RSQRT,   MINIINFER_PW_EXP,     MINIINFER_PW_LOG,
    MINIINFER_PW_SIN,  MINIINFER_PW_COS,     MINIINFER_PW_TAN,     MINIINFER_PW_ASIN,
    MINIINFER_PW_ACOS, MINIINFER_PW_ATAN,    MINIINFER_PW_SINH,    MINIINFER_PW_COSH,
    MINIINFER_PW_TANH, MINIINFER_PW_ASINH,   MINIINFER_PW_ACOSH,   MINIINFER_PW_ATANH,
    MINIINFER_PW_ERF,  MINIINFER_PW_SIGMOID, MINIINFER_PW_SOFTPLUS};
// Defined for every type and right to the last bit.
inline constexpr int kExact[] = {MINIINFER_PW_COPY,
                                 MINIINFER_PW_NEG,
                                 MINIINFER_PW_ABS,
                                 MINIINFER_PW_SIGN,
                                 MINIINFER_PW_RECIPROCAL,
                                 MINIINFER_PW_FLOOR,
                                 MINIINFER_PW_CEIL,
                                 MINIINFER_PW_ROUND,
                                 MINIINFER_PW_ADD,
                                 MINIINFER_PW_SUB,
                                 MINIINFER_PW_MUL,
                                 MINIINFER_PW_DIV,
                                 MINIINFER_PW_MOD,
                                 MINIINFER_PW_FMOD,
                                 MINIINFER_PW_MIN,
                                 MINIINFER_PW_MAX,
                                 MINIINFER_PW_FMA,
                                 MINIINFER_PW_IS_NAN,
                                 MINIINFER_PW_IS_POSITIVE_INF,
                                 MINIINFER_PW_IS_NEGATIVE_INF,
                                 MINIINFER_PW_EQUAL,
                                 MINIINFER_PW_LESS,
                                 MINIINFER_PW_LESS_EQUAL,
                                 MINIINFER_PW_CAST,
                                 MINIINFER_PW_SELECT};
inline constexpr int kForIntegers[] = {
    MINIINFER_PW_NOT,        MINIINFER_PW_BIT_NOT,     MINIINFER_PW_AND,    MINIINFER_PW_OR,
    MINIINFER_PW_XOR,        MINIINFER_PW_BIT_AND,     MINIINFER_PW_BIT_OR, MINIINFER_PW_BIT_XOR,
    MINIINFER_PW_SHIFT_LEFT, MINIINFER_PW_SHIFT_RIGHT, MINIINFER_PW_POW};

// A program of exact instructions in many types.
inline Program random_program(Random& random) {
  Program program;
  const std::int64_t inputs = pick(random, 1, 5);
  for (std::int64_t i = 0; i < inputs; ++i) program.input(kAllTypes[pick(random, 0, 12)]);
  for (std::int64_t i = pick(random, 0, 3); i > 0; --i) {
    const int dtype = kAllTypes[pick(random, 0, 12)];
    std::uint64_t bits = 0;
    const auto element = random_elements(random, dtype, 1);
    std::memcpy(&bits, element.data(), element.size());
    program.constant(dtype, bits);
  }
  for (std::int64_t i = pick(random, 0, 20); i > 0; --i) {
    const auto a = static_cast<std::uint16_t>(
        pick(random, 0, static_cast<std::int64_t>(program.types.size()) - 1));
    const int dtype = program.types[a];
    const auto same = [&](int wanted) {
      std::vector<std::uint16_t> candidates;
      for (std::size_t r = 0; r < program.types.size(); ++r) {
        if (program.types[r] == wanted) candidates.push_back(static_cast<std::uint16_t>(r));
      }
      return candidates.empty() ? std::uint16_t{0xFFFF} : candidates[random() % candidates.size()];
    };
    int op = kExact[random() % std::size(kExact)];
    if (!is_float_type(dtype) && pick(random, 0, 3) == 0) {
      op = kForIntegers[random() % std::size(kForIntegers)];
    }
    if (op == MINIINFER_PW_CAST) {
      program.emit(op, kAllTypes[pick(random, 0, 12)], a);
    } else if (op == MINIINFER_PW_SELECT) {
      const std::uint16_t condition = same(MINIINFER_BOOL);
      if (condition != 0xFFFF) program.emit(op, dtype, condition, a, same(dtype));
    } else {
      program.emit(op, dtype, a, same(dtype), same(dtype));
    }
  }
  std::vector<std::uint16_t> outputs;
  const auto last = static_cast<std::int64_t>(program.types.size()) - 1;
  outputs.push_back(static_cast<std::uint16_t>(last));
  for (std::int64_t o = pick(random, 0, 2); o > 0; --o) {
    outputs.push_back(static_cast<std::uint16_t>(pick(random, 0, last)));
  }
  program.finish(outputs);
  return program;
}

// A shape that broadcasts to `dims`.
inline Dims narrowed(Random& random, const Dims& dims) {
  Dims result = dims;
  const std::int64_t how = pick(random, 0, 5);
  for (auto& d : result) {
    if (how == 1 || (how >= 2 && pick(random, 0, 1) == 0)) d = 1;
  }
  return how == 0 ? dims : result;
}

inline Dims random_dims(Random& random, std::int64_t budget) {
  Dims dims;
  const std::int64_t rank = pick(random, 0, 5);
  for (std::int64_t i = 0; i < rank; ++i) {
    const std::int64_t sizes[] = {1, 2, 3, 5, 7, 8, 16, 33, 64, 257, 300, 1024};
    std::int64_t d = sizes[pick(random, 0, 11)];
    if (d > budget) d = 1;
    budget /= d;
    dims.push_back(d);
  }
  return dims;
}

}  // namespace miniinfer::test
