#include "miniinfer/abi/op/select.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "tests/cpu/random_data.hpp"
#include "tests/cpu/thread_host.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;

TEST_CASE("TopK gives the k first of a stable sort along any axis") {
  Random random(9);
  for (std::uint32_t threads : {1u, 3u}) {
    const ThreadHost host(threads);
    for (int axis = 0; axis < 3; ++axis) {
      for (bool largest : {false, true}) {
        for (int dtype : {MINIINFER_FLOAT32, MINIINFER_FLOAT16, MINIINFER_INT8, MINIINFER_INT64}) {
          const Dims dims = {4, 37, 6};
          const auto a = static_cast<std::size_t>(axis);
          Dims out = dims;
          out[a] = pick(random, 0, dims[a]);
          auto data = random_elements(random, dtype, count_of(dims), false);
          RegionBuilder builder;
          miniinfer_top_k_attrs attrs{};
          attrs.axis = axis;
          attrs.largest = largest;
          attrs.sorted = 1;
          const auto x = builder.input(dtype, dims);
          builder.node(MINIINFER_TOP_K, &attrs, {x},
                       {builder.output(dtype, out), builder.output(MINIINFER_INT64, out)});
          const Outputs got = run_family(cpu::kTopK, builder, {data.data()});
          REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
          miniinfer::sdk::reference::with_type(dtype, [&](auto type) {
            using S = typename decltype(type)::Stored;
            std::int64_t inner = 1;
            for (std::size_t i = a + 1; i < 3; ++i) inner *= dims[i];
            const std::int64_t n = dims[a], k = out[a];
            const std::int64_t outer = static_cast<std::int64_t>(count_of(dims)) / n / inner;
            const auto load = [&](std::int64_t at) {
              return miniinfer::sdk::reference::load<S>(data.data() +
                                                        static_cast<std::size_t>(at) * sizeof(S));
            };
            std::size_t bad = 0;
            const auto positions = got.as<std::int64_t>(1);
            for (std::int64_t row = 0; row < outer * inner; ++row) {
              const std::int64_t base = row / inner * n * inner + row % inner;
              std::vector<std::int64_t> order(static_cast<std::size_t>(n));
              std::iota(order.begin(), order.end(), 0);
              std::stable_sort(order.begin(), order.end(), [&](std::int64_t p, std::int64_t q) {
                const auto u = load(base + p * inner), v = load(base + q * inner);
                return largest ? u > v : u < v;
              });
              for (std::int64_t i = 0; i < k; ++i) {
                const auto to =
                    static_cast<std::size_t>(row / inner * k * inner + i * inner + row % inner);
                bad += positions[to] != order[static_cast<std::size_t>(i)];
                const auto from = base + order[static_cast<std::size_t>(i)] * inner;
                bad += std::memcmp(got.data[0].data() + to * sizeof(S),
                                   data.data() + static_cast<std::size_t>(from) * sizeof(S),
                                   sizeof(S)) != 0;
              }
            }
            CHECK(bad == 0);
          });
        }
      }
    }
  }
}

TEST_CASE("NonZero lists positions densely, row by row, and says how many") {
  RegionBuilder builder;
  miniinfer_non_zero_attrs attrs{};
  const auto x = builder.input(MINIINFER_FLOAT32, {2, 3});
  builder.node(MINIINFER_NON_ZERO, &attrs, {x},
               {builder.output(MINIINFER_INT64, {2, 6}), builder.output(MINIINFER_INT64, {1})});
  std::vector<float> data = {0, 1, -0.0f, -2, 0, std::nanf("")};
  const Outputs got = run_family(cpu::kNonZero, builder, {bytes(data)});
  REQUIRE(got.code == MINIINFER_OK);
  CHECK(got.as<std::int64_t>(1) == std::vector<std::int64_t>{3});
  const auto positions = got.as<std::int64_t>(0);
  CHECK(std::vector<std::int64_t>(positions.begin(), positions.begin() + 6) ==
        std::vector<std::int64_t>{0, 1, 1, 1, 0, 2});
}

namespace {

std::vector<std::int64_t> suppress(std::vector<float> boxes, std::vector<float> scores,
                                   std::int64_t classes, std::int64_t per_class, float iou,
                                   float threshold, bool center) {
  const auto n = static_cast<std::int64_t>(boxes.size()) / 4;
  RegionBuilder builder;
  miniinfer_non_max_suppression_attrs attrs{};
  attrs.max_per_class = per_class;
  attrs.iou_threshold = iou;
  attrs.score_threshold = threshold;
  attrs.center_point = center;
  const auto b = builder.input(MINIINFER_FLOAT32, {1, n, 4});
  const auto s = builder.input(MINIINFER_FLOAT32, {1, classes, n});
  builder.node(MINIINFER_NON_MAX_SUPPRESSION, &attrs, {b, s},
               {builder.output(MINIINFER_INT64, {classes * std::min(per_class, n), 3}),
                builder.output(MINIINFER_INT64, {1})});
  const Outputs got = run_family(cpu::kNonMaxSuppression, builder, {bytes(boxes), bytes(scores)});
  REQUIRE(got.code == MINIINFER_OK);
  auto rows = got.as<std::int64_t>(0);
  rows.resize(static_cast<std::size_t>(got.as<std::int64_t>(1)[0] * 3));
  return rows;
}

const std::vector<float> kBoxes = {0, 0,    1, 1,    0, 0.1f,  1, 1.1f,  0, -0.1f, 1, 0.9f,
                                   0, 10.f, 1, 11.f, 0, 10.1f, 1, 11.1f, 0, 100.f, 1, 101.f};
const std::vector<float> kScores = {0.9f, 0.75f, 0.6f, 0.95f, 0.5f, 0.3f};
using Rows = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("NonMaxSuppression drops boxes that overlap a better one") {
  const float none = -std::numeric_limits<float>::infinity();
  CHECK(suppress(kBoxes, kScores, 1, 3, 0.5f, none, false) == Rows{0, 0, 3, 0, 0, 0, 0, 0, 5});
  CHECK(suppress(kBoxes, kScores, 1, 2, 0.5f, none, false) == Rows{0, 0, 3, 0, 0, 0});
  CHECK(suppress(kBoxes, kScores, 1, 0, 0.5f, none, false).empty());
  CHECK(suppress(kBoxes, kScores, 1, 3, 0.5f, 0.4f, false) == Rows{0, 0, 3, 0, 0, 0});
}

TEST_CASE("NonMaxSuppression takes flipped corners and boxes given by their centre") {
  std::vector<float> flipped = kBoxes;
  for (std::size_t i = 0; i < flipped.size(); i += 8) {
    std::swap(flipped[i], flipped[i + 2]);
    std::swap(flipped[i + 1], flipped[i + 3]);
  }
  CHECK(suppress(flipped, kScores, 1, 3, 0.5f, 0, false) == Rows{0, 0, 3, 0, 0, 0, 0, 0, 5});
  std::vector<float> centers;
  for (std::size_t i = 0; i < kBoxes.size(); i += 4) {
    centers.insert(centers.end(), {(kBoxes[i + 1] + kBoxes[i + 3]) / 2, 0.5f, 1, 1});
  }
  CHECK(suppress(centers, kScores, 1, 3, 0.5f, 0, true) == Rows{0, 0, 3, 0, 0, 0, 0, 0, 5});
}

TEST_CASE("NonMaxSuppression handles classes apart and equal scores in order") {
  std::vector<float> scores = kScores;
  scores.insert(scores.end(), {0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f});
  CHECK(suppress(kBoxes, scores, 2, 2, 0.5f, 0, false) == Rows{0, 0, 3, 0, 0, 0, 0, 1, 0, 0, 1, 3});
}
