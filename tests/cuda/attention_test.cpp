#include "tests/cuda/emulated.hpp"  // before the kernels

#include <doctest/doctest.h>

#include "plugins/cuda/kernels/attention.hpp"
#include "plugins/cuda/kernels/attention_float.cu"
#include "tests/cpu/attention_cases.hpp"
#include "tests/cuda/emulated_device.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cuda = miniinfer::cuda;

namespace {

// Probabilities are rounded to the operands' type, or tf32, before they meet v.
double tolerance(int dtype, std::uint32_t math) {
  if (dtype == MINIINFER_FLOAT16 || math != 0) return 4e-3;
  return dtype == MINIINFER_BFLOAT16 ? 3e-2 : 1e-5;
}

void check(Random& random, const AttentionCase& c, int dtype, std::uint32_t math,
           std::size_t shift = 0) {
  CAPTURE(dtype);
  CAPTURE(math);
  CAPTURE(c.queries);
  CAPTURE(c.keys);
  CAPTURE(c.depth);
  CAPTURE(shift);
  AttentionRegion region(random, c, dtype, math);
  const Outputs got = run_emulated(cuda::kAttention, region.builder, region.data, shift);
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  const double near = tolerance(dtype, math);
  CHECK_EQ(differences(dtype, got.data[0], region.reference(), near, near * 4), 0);
}

}  // namespace

TEST_CASE("attention by tensor cores is the definition's for all shapes, masks and layouts") {
  Random random(31);
  for (const AttentionCase& c : kAttentionCases) {
    check(random, c, MINIINFER_FLOAT16, 0);
    check(random, c, MINIINFER_BFLOAT16, 0);
    check(random, c, MINIINFER_FLOAT32, MINIINFER_MATH_TF32);
  }
}

TEST_CASE("strict float32 attention is the definition's for all shapes, masks and layouts") {
  Random random(32);
  for (const AttentionCase& c : kAttentionCases) check(random, c, MINIINFER_FLOAT32, 0);
}

TEST_CASE("attention reads operands that are only as aligned as an element") {
  Random random(33);
  for (const AttentionCase& c : kAttentionCases) {
    if (c.queries > 40) continue;
    check(random, c, MINIINFER_FLOAT16, 0, 2);
    check(random, c, MINIINFER_FLOAT32, 0, 4);
    check(random, c, MINIINFER_FLOAT32, MINIINFER_MATH_TF32, 4);
  }
}

TEST_CASE("enough heads for a large GPU take tiles of more queries, with equal results") {
  Random random(34);
  const AttentionCase c = {.batch = 8,
                           .heads = 9,
                           .groups = 9,
                           .queries = 66,
                           .keys = 33,
                           .depth = 16,
                           .width = 16,
                           .sequence_first = true};
  check(random, c, MINIINFER_FLOAT16, 0);
  check(random, c, MINIINFER_FLOAT32, 0);
}
