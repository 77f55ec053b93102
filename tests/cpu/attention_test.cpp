// attention/1 of the built-in backend against the reference.

#include <doctest/doctest.h>

#include "tests/cpu/attention_cases.hpp"
#include "tests/cpu/random_data.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;

namespace {

constexpr int kFloats[] = {MINIINFER_FLOAT32, MINIINFER_FLOAT16, MINIINFER_BFLOAT16};

double tolerance(int dtype) {
  return dtype == MINIINFER_FLOAT16 ? 1e-3 : dtype == MINIINFER_BFLOAT16 ? 8e-3 : 5e-5;
}

Outputs run(AttentionRegion& region) {
  std::vector<std::byte*> inputs;
  for (auto& operand : region.data) inputs.push_back(operand.data());
  return run_family(cpu::kAttention, region.builder, inputs);
}

void check(AttentionRegion& region, const AttentionCase& c) {
  CAPTURE(region.dtype);
  CAPTURE(c.batch * c.heads);
  CAPTURE(c.queries);
  CAPTURE(c.keys);
  CAPTURE(c.depth);
  CAPTURE(c.width);
  CAPTURE(text(c.mask));
  const Outputs got = run(region);
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  const double near = tolerance(region.dtype);
  CHECK_EQ(differences(region.dtype, got.data[0], region.reference(), near, near * 4), 0);
}

template <class T>
void set(std::vector<std::byte>& data, std::size_t index, T value) {
  std::memcpy(data.data() + index * sizeof(T), &value, sizeof value);
}

}  // namespace

TEST_CASE("attention is the definition's at the edges of tiles") {
  Random random(51);
  for (AttentionCase c : kAttentionCases) {
    for (const bool sequence_first : {false, true}) {
      c.sequence_first = sequence_first;
      for (const int dtype : kFloats) {
        AttentionRegion region(random, c, dtype);
        check(region, c);
      }
    }
  }
}

TEST_CASE("attention is the definition's for random shapes, masks and layouts") {
  Random random(52);
  for (int i = 0; i < 100; ++i) {
    const AttentionCase c = random_attention_case(random, 90, 300);
    AttentionRegion region(random, c, kFloats[i % 3]);
    check(region, c);
  }
}

TEST_CASE("attention over more keys than a block keeps the largest score so far") {
  Random random(53);
  for (const AttentionCase& c :
       {AttentionCase{.heads = 2,
                      .groups = 1,
                      .queries = 30,
                      .keys = 1000,
                      .depth = 16,
                      .width = 24,
                      .mask = {1, 2, 30, 1000},
                      .factor = 8},
        AttentionCase{.queries = 700, .keys = 700, .depth = 8, .width = 8, .causal = true}}) {
    for (const int dtype : {MINIINFER_FLOAT32, MINIINFER_FLOAT16}) {
      AttentionRegion region(random, c, dtype);
      check(region, c);
    }
  }
}

TEST_CASE("masked, infinite and NaN scores give what the definition says") {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  Random random(54);
  for (const bool nan_to_zero : {false, true}) {
    for (const std::int64_t keys : {100, 700}) {
      const AttentionCase c = {.queries = 6,
                               .keys = keys,
                               .depth = 4,
                               .width = 4,
                               .mask = {1, 1, 6, keys},
                               .nan_to_zero = nan_to_zero};
      AttentionRegion region(random, c, MINIINFER_FLOAT32);
      const auto n = static_cast<std::size_t>(keys);
      for (std::size_t j = 0; j < n; ++j) set(region.data[3], j, -kInf);  // all of query 0
      for (std::size_t j = 0; j + 1 < n; ++j) set(region.data[3], n + j, -kInf);
      set(region.data[3], 2 * n + 1, kInf);
      set(region.data[3], 3 * n + 2, kNan);
      for (std::size_t j = 0; j < n; ++j) {
        set(region.data[3], 4 * n + j, std::numeric_limits<float>::lowest());  // equally likely
      }
      check(region, c);
      const std::vector<float> y = run(region).as<float>();
      for (const std::size_t row : {0, 2, 3}) {
        CHECK((nan_to_zero ? y[row * 4] == 0 : std::isnan(y[row * 4])));
      }
      CHECK(std::isfinite(y[4 * 4]));
    }
  }
}

TEST_CASE("attention of float64 and of strided columns is left to its parts") {
  Random random(55);
  const AttentionCase c = {.queries = 3, .keys = 100, .depth = 5, .width = 6};
  AttentionRegion wide(random, c, MINIINFER_FLOAT64);
  CHECK(run(wide).code == MINIINFER_UNSUPPORTED);
  AttentionRegion strided(random, c, MINIINFER_FLOAT32);
  const std::int64_t turned[] = {15, 15, 1, 3};
  strided.builder[0].strides = turned;
  CHECK(run(strided).code == MINIINFER_UNSUPPORTED);
}
