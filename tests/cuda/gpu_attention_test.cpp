// Attention on a GPU, in every type and with every arithmetic, against the definition.

#include <doctest/doctest.h>

#include <string>

#include "tests/cpu/attention_cases.hpp"
#include "tests/cuda/gpu_region.hpp"

using namespace miniinfer::test;  // NOLINT

namespace {

struct Arithmetic {
  const char* name;
  int dtype;
  std::uint32_t math;
  double near;  // probabilities are rounded to this before they meet v
};

constexpr Arithmetic kArithmetics[] = {
    {"float16", MINIINFER_FLOAT16, 0, 4e-3},
    {"bfloat16", MINIINFER_BFLOAT16, 0, 3e-2},
    {"tf32", MINIINFER_FLOAT32, MINIINFER_MATH_TF32, 4e-3},
    {"strict float32", MINIINFER_FLOAT32, 0, 5e-5},
};

void check(Random& random, const AttentionCase& c, const Arithmetic& with, std::size_t shift = 0) {
  static GpuDevice& gpu = *new GpuDevice;
  CAPTURE(with.name);
  CAPTURE(c.batch * c.heads);
  CAPTURE(c.queries);
  CAPTURE(c.keys);
  CAPTURE(c.depth);
  CAPTURE(c.width);
  CAPTURE(text(c.mask));
  CAPTURE(shift);
  AttentionRegion region(random, c, with.dtype, with.math);
  const Outputs got = run_on_gpu(gpu, region.builder, region.data, shift);
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  CHECK_EQ(differences(with.dtype, got.data[0], region.reference(), with.near, with.near * 4), 0);
}

}  // namespace

TEST_CASE("attention on the GPU is the definition's at the edges of its tiles") {
  Random random(41);
  for (const Arithmetic& with : kArithmetics) {
    for (const AttentionCase& c : kAttentionCases) {
      check(random, c, with);
      check(random, c, with, miniinfer::sdk::element_bytes(with.dtype));
    }
  }
}

TEST_CASE("attention on the GPU is the definition's for heads of real networks") {
  Random random(42);
  for (const Arithmetic& with : kArithmetics) {
    for (const std::int64_t batch : {1, 8}) {
      for (const std::int64_t depth : {32, 64}) {
        check(random,
              {.batch = batch,
               .heads = 12,
               .groups = 12,
               .queries = 128,
               .keys = 128,
               .depth = depth,
               .width = depth,
               .mask = {batch, 1, 1, 128},
               .sequence_first = true},
              with);
      }
    }
    check(random,
          {.batch = 1,
           .heads = 8,
           .groups = 2,
           .queries = 200,
           .keys = 200,
           .depth = 128,
           .width = 128,
           .causal = true,
           .sequence_first = true},
          with);
  }
}

TEST_CASE("attention on the GPU is the definition's for random shapes, masks and layouts") {
  Random random(43);
  for (int i = 0; i < 60; ++i) {
    const AttentionCase c = random_attention_case(random, 100, 150);
    for (const Arithmetic& with : kArithmetics) check(random, c, with);
  }
}
