#pragma once

#include <cstdint>

#include "miniinfer/abi/op/pointwise.h"
#include "tests/cpu/region_builder.hpp"

namespace miniinfer::test {

// The pointwise node that follows a producer in tests: max(x, 0), max(x + residual, 0), or
// max(bias + x, 0) where the bias has one element for each place along axis 1.
struct ReluNode {
  enum Kind { None, Clamp, Residual, Bias };

  explicit ReluNode(Kind kind) : kind(kind) {
    const std::uint16_t inputs = adds() ? 2 : 1;
    const auto sum = static_cast<std::uint16_t>(inputs + 1);
    if (adds()) {
      code[0] = {MINIINFER_PW_ADD, MINIINFER_FLOAT32, 0, 1, 0, 0};
      code[1] = {MINIINFER_PW_MAX, MINIINFER_FLOAT32, sum, inputs, 0, 0};
      out = static_cast<std::uint16_t>(sum + 1);
    } else {
      code[0] = {MINIINFER_PW_MAX, MINIINFER_FLOAT32, 0, inputs, 0, 0};
      out = sum;
    }
    attrs.in_count = inputs;
    attrs.constant_count = 1;
    attrs.code_count = adds() ? 2 : 1;
    attrs.out_count = 1;
    attrs.constants = &zero;
    attrs.constant_dtypes = &zero_type;
    attrs.code = code;
    attrs.out = &out;
  }
  ReluNode(const ReluNode&) = delete;

  // The value the producer writes: the region's output, or one in between.
  std::uint32_t produced(RegionBuilder& builder, std::vector<std::int64_t> dims) {
    return kind == None ? builder.output(MINIINFER_FLOAT32, dims)
                        : builder.value(MINIINFER_FLOAT32, dims);
  }
  bool adds() const { return kind >= Residual; }
  // Adds the node, and what it adds as the region's next input.
  void follow(RegionBuilder& builder, std::uint32_t value, std::vector<std::int64_t> dims) {
    if (kind == None) return;
    std::vector<std::uint32_t> in = {value};
    if (kind == Residual) in.push_back(builder.input(MINIINFER_FLOAT32, dims));
    if (kind == Bias) {
      std::vector<std::int64_t> ones(dims.size(), 1);
      ones[1] = dims[1];
      in.insert(in.begin(), builder.input(MINIINFER_FLOAT32, ones));
    }
    builder.node(MINIINFER_POINTWISE, &attrs, in, {builder.output(MINIINFER_FLOAT32, dims)});
  }
  double expected(double x, double added) const {
    if (adds()) x += added;
    return kind == None || x > 0 ? x : 0;
  }

  Kind kind;
  std::uint64_t zero = 0;
  std::uint16_t zero_type = MINIINFER_FLOAT32;
  miniinfer_instruction code[2]{};
  std::uint16_t out = 0;
  miniinfer_pointwise_attrs attrs{};
};

}  // namespace miniinfer::test
