#pragma once

// Pointwise programs as they follow products and convolutions.

#include <cstdint>
#include <cstring>
#include <vector>

#include "miniinfer/abi/op/pointwise.h"
#include "miniinfer/sdk/reference/number.hpp"

namespace miniinfer::test {

// Inputs, then constants, then results, in one type; each step gives its register.
class EpilogueProgram {
 public:
  EpilogueProgram(miniinfer_dtype dtype, std::uint32_t inputs, std::vector<double> constants)
      : dtype_(dtype), inputs_(inputs) {
    for (const double constant : constants) {
      std::uint64_t bits = 0;
      sdk::reference::with_type(dtype, [&](auto type) {
        using S = typename decltype(type)::Stored;
        if constexpr (sdk::reference::kIsFloat<S>) {
          const S stored =
              sdk::reference::Number<S>::store(static_cast<sdk::reference::Compute<S>>(constant));
          std::memcpy(&bits, &stored, sizeof stored);
        }
      });
      constants_.push_back(bits);
      dtypes_.push_back(static_cast<std::uint16_t>(dtype));
    }
  }

  std::uint16_t constant(std::uint32_t i) const { return static_cast<std::uint16_t>(inputs_ + i); }
  std::uint16_t step(std::uint16_t op, std::uint16_t a, std::uint16_t b = 0, std::uint16_t c = 0) {
    code_.push_back({op, static_cast<std::uint16_t>(dtype_), a, b, c, 0});
    out_ = static_cast<std::uint16_t>(inputs_ + constants_.size() + code_.size() - 1);
    return out_;
  }
  // As step, to another type.
  std::uint16_t cast(miniinfer_dtype dtype, std::uint16_t a) {
    const std::uint16_t made = step(MINIINFER_PW_CAST, a);
    code_.back().dtype = static_cast<std::uint16_t>(dtype);
    return made;
  }
  // 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) with constants {0.5, 1, 0.044715, 0.79788456}
  std::uint16_t gelu_tanh(std::uint16_t x) {
    const auto mul = [&](std::uint16_t a, std::uint16_t b) { return step(MINIINFER_PW_MUL, a, b); };
    const auto add = [&](std::uint16_t a, std::uint16_t b) { return step(MINIINFER_PW_ADD, a, b); };
    const auto sum = add(x, mul(mul(mul(x, x), x), constant(2)));
    const auto gate = step(MINIINFER_PW_TANH, mul(sum, constant(3)));
    return mul(mul(x, constant(0)), add(gate, constant(1)));
  }

  miniinfer_pointwise_attrs& attrs() {
    attrs_ = {{},
              inputs_,
              static_cast<std::uint32_t>(constants_.size()),
              static_cast<std::uint32_t>(code_.size()),
              1,
              constants_.data(),
              dtypes_.data(),
              code_.data(),
              &out_};
    return attrs_;
  }

 private:
  miniinfer_dtype dtype_;
  std::uint32_t inputs_;
  std::vector<std::uint64_t> constants_;
  std::vector<std::uint16_t> dtypes_;
  std::vector<miniinfer_instruction> code_;
  std::uint16_t out_ = 0;
  miniinfer_pointwise_attrs attrs_{};
};

inline const std::vector<double> kGeluConstants = {0.5, 1, 0.044715, 0.7978845608028654};

}  // namespace miniinfer::test
