#pragma once

// Regions of attention/1 for the tests of every backend, and what the reference makes of them.

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "miniinfer/abi/op/attention.h"
#include "miniinfer/sdk/reference/attention.hpp"
#include "miniinfer/sdk/reference/program.hpp"
#include "tests/cpu/random_data.hpp"

namespace miniinfer::test {

struct AttentionCase {
  std::int64_t batch = 1, heads = 1, groups = 1, queries = 1, keys = 1, depth = 1, width = 1;
  Dims mask = {};  // empty: none
  bool causal = false;
  std::int64_t past = 0;
  bool nan_to_zero = false;
  // Whether [batch, sequence, heads, columns] lies in memory; else row-major as written.
  bool sequence_first = false;
  float factor = 1;  // of 1 / sqrt(depth)
};

class AttentionRegion {
 public:
  AttentionRegion(Random& random, const AttentionCase& c, int dtype, std::uint32_t math = 0)
      : dtype(dtype) {
    attrs_.scale = c.factor / std::sqrt(static_cast<float>(c.depth));
    attrs_.flags = (c.causal ? std::uint32_t{MINIINFER_ATTENTION_CAUSAL} : 0u) |
                   (c.nan_to_zero ? std::uint32_t{MINIINFER_ATTENTION_NAN_TO_ZERO} : 0u);
    attrs_.past = c.past;
    const auto operand = [&](std::int64_t heads, std::int64_t rows, std::int64_t columns) {
      const Dims dims = {c.batch, heads, rows, columns};
      Dims strides = {heads * rows * columns, rows * columns, columns, 1};
      if (c.sequence_first) {
        strides = {rows * heads * columns, columns, heads * columns, 1};
      }
      return std::array<Dims, 2>{dims, strides};
    };
    std::vector<std::uint32_t> in;
    for (const auto& [dims, strides] :
         {operand(c.heads, c.queries, c.depth), operand(c.groups, c.keys, c.depth),
          operand(c.groups, c.keys, c.width)}) {
      data.push_back(random_elements(random, dtype, count_of(dims), false));
      in.push_back(builder.input(dtype, dims, strides));
    }
    if (!c.mask.empty()) {
      data.push_back(random_elements(random, dtype, count_of(c.mask), false));
      in.push_back(builder.input(dtype, c.mask));
    }
    const auto [dims, strides] = operand(c.heads, c.queries, c.width);
    builder.node(MINIINFER_ATTENTION, &attrs_, in, {builder.output(dtype, dims, strides)}, math);
    out_count_ = count_of(dims);
  }

  std::vector<std::byte> reference() {
    static constexpr sdk::reference::Family kFamily[] = {
        {MINIINFER_ATTENTION, sizeof(miniinfer_attention_attrs),
         sdk::reference::make<sdk::reference::Attention>}};
    std::vector<std::byte> want(out_count_ * sdk::element_bytes(dtype));
    std::vector<std::byte*> args;
    for (auto& operand : data) args.push_back(operand.data());
    args.push_back(want.data());
    const sdk::reference::Program program(sdk::Region(builder.region()), kFamily);
    program.run(args, nullptr, sdk::reference::FaultSink(nullptr, 0));
    return want;
  }

  int dtype;
  RegionBuilder builder;
  std::vector<std::vector<std::byte>> data;  // of each input

 private:
  miniinfer_attention_attrs attrs_{};
  std::size_t out_count_ = 0;
};

// Shapes that meet every edge of a tile, and those of real networks.
inline const std::vector<AttentionCase> kAttentionCases = {
    {.batch = 1, .heads = 1, .groups = 1, .queries = 1, .keys = 1, .depth = 1, .width = 1},
    {.batch = 2, .heads = 3, .groups = 3, .queries = 5, .keys = 7, .depth = 8, .width = 8},
    {.batch = 1,
     .heads = 2,
     .groups = 2,
     .queries = 16,
     .keys = 64,
     .depth = 32,
     .width = 32,
     .mask = {1, 1, 1, 64}},
    {.batch = 2,
     .heads = 2,
     .groups = 2,
     .queries = 33,
     .keys = 65,
     .depth = 32,
     .width = 32,
     .mask = {2, 1, 1, 65},
     .sequence_first = true},
    {.batch = 1,
     .heads = 4,
     .groups = 2,
     .queries = 70,
     .keys = 130,
     .depth = 64,
     .width = 64,
     .mask = {1, 4, 70, 130},
     .sequence_first = true},
    {.batch = 2,
     .heads = 4,
     .groups = 1,
     .queries = 17,
     .keys = 31,
     .depth = 24,
     .width = 40,
     .mask = {2, 1, 17, 31}},
    {.batch = 1,
     .heads = 2,
     .groups = 2,
     .queries = 40,
     .keys = 40,
     .depth = 80,
     .width = 128,
     .causal = true,
     .sequence_first = true},
    {.batch = 1,
     .heads = 1,
     .groups = 1,
     .queries = 9,
     .keys = 45,
     .depth = 128,
     .width = 5,
     .mask = {1, 1, 9, 1},
     .causal = true,
     .past = 36},
    {.batch = 1,
     .heads = 2,
     .groups = 2,
     .queries = 20,
     .keys = 20,
     .depth = 7,
     .width = 3,
     .causal = true,
     .past = -4,
     .nan_to_zero = true},
    {.batch = 1,
     .heads = 2,
     .groups = 2,
     .queries = 20,
     .keys = 20,
     .depth = 16,
     .width = 16,
     .causal = true,
     .past = -4},
    {.batch = 1,
     .heads = 2,
     .groups = 1,
     .queries = 1,
     .keys = 200,
     .depth = 64,
     .width = 64,
     .sequence_first = true},
    {.batch = 1,
     .heads = 1,
     .groups = 1,
     .queries = 64,
     .keys = 129,
     .depth = 64,
     .width = 64,
     .factor = 20},
};

inline AttentionCase random_attention_case(Random& random, std::int64_t queries,
                                           std::int64_t keys) {
  AttentionCase c;
  c.batch = pick(random, 1, 3);
  c.groups = pick(random, 1, 3);
  c.heads = c.groups * pick(random, 1, 3);
  c.queries = pick(random, 1, queries);
  c.keys = pick(random, 1, keys);
  c.depth = pick(random, 1, 128);
  c.width = pick(random, 1, 128);
  if (pick(random, 0, 2) > 0) {
    c.mask = {c.batch, c.heads, c.queries, c.keys};
    for (std::int64_t& dim : c.mask) dim = pick(random, 0, 1) == 0 ? 1 : dim;
  }
  c.causal = pick(random, 0, 2) == 0;
  c.past = pick(random, 0, 20);
  c.sequence_first = pick(random, 0, 1) == 0;
  return c;
}

}  // namespace miniinfer::test
