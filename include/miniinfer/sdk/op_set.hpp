#pragma once

// Which operators a device knows, and the limits of what it accepts in one region.

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "miniinfer/abi/op.h"
#include "miniinfer/abi/op/pointwise.h"
#include "miniinfer/sdk/data_type.hpp"

namespace miniinfer::sdk {

struct OpSet {
  // `attr_size` is how much of the attribute struct was known when the backend was compiled:
  // sizeof it. The host refuses nodes that use more.
  struct Op {
    const char* id;  // lives as long as the process
    std::uint64_t attr_size;
  };

  std::vector<Op> ops;
  std::uint32_t max_nodes = 1;
  std::uint32_t max_instructions = MINIINFER_POINTWISE_MAX_CODE;
  std::uint32_t max_operands = 16;
  std::uint64_t pointwise_ops[2] = {};
  std::uint64_t pointwise_dtypes = 0;

  template <class Attrs>
  OpSet& add(const char* id) {
    ops.push_back({id, sizeof(Attrs)});
    return *this;
  }
  OpSet& add_opcodes(std::initializer_list<int> opcodes) {
    for (const int code : opcodes) pointwise_ops[code / 64] |= std::uint64_t{1} << (code % 64);
    return *this;
  }
  // Every opcode of abi/op/pointwise.h at the time of compiling.
  OpSet& add_all_opcodes() {
    constexpr struct {
      int first, last;
    } kRanges[] = {{MINIINFER_PW_COPY, MINIINFER_PW_IS_NEGATIVE_INF},
                   {MINIINFER_PW_ADD, MINIINFER_PW_LESS_EQUAL},
                   {MINIINFER_PW_SELECT, MINIINFER_PW_FMA}};
    for (const auto& range : kRanges) {
      for (int code = range.first; code <= range.last; ++code) add_opcodes({code});
    }
    return *this;
  }
};

}  // namespace miniinfer::sdk
