#include "tests/cuda/emulated.hpp"  // before the kernels

#include <doctest/doctest.h>

#include <limits>

#include "miniinfer/abi/op/select.h"
#include "plugins/cuda/kernels/non_max_suppression.cu"
#include "plugins/cuda/kernels/non_max_suppression.hpp"
#include "tests/cpu/random_data.hpp"
#include "tests/cuda/emulated_device.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;
namespace cuda = miniinfer::cuda;

namespace {

struct Case {
  std::int64_t batches, classes, boxes, max_per_class, room;
  float iou, score;
  bool center_point;
};

constexpr float kNone = -std::numeric_limits<float>::infinity();
const Case kCases[] = {
    {1, 1, 6, 3, 18, 0.5f, 0.0f, false},       {2, 3, 40, 10, 1000, 0.3f, kNone, false},
    {1, 2, 100, 1000, 1000, 0.6f, 0.2f, true}, {2, 2, 33, 5, 7, 0.4f, kNone, true},
    {1, 1, 10, 0, 10, 0.5f, kNone, false},     {1, 2, 0, 5, 10, 0.5f, kNone, false},
    {1, 1, 4200, 20, 50, 0.2f, 0.5f, false},   {1, 2, 70, 9, 100, 0.0f, kNone, false},
};

}  // namespace

TEST_CASE("non_max_suppression on the GPU chooses what the CPU chooses, in its order") {
  Random random(61);
  for (const Case& c : kCases) {
    for (int repeat = 0; repeat < 3; ++repeat) {
      CAPTURE(c.boxes);
      CAPTURE(c.classes);
      CAPTURE(c.center_point);
      const auto real = [&](int most) { return static_cast<float>(pick(random, 0, most)) / 64; };
      std::vector<float> boxes, scores;
      for (std::int64_t i = 0; i < c.batches * c.boxes; ++i) {
        const float x = real(200), y = real(200), w = real(90), h = real(90);
        if (c.center_point) {
          boxes.insert(boxes.end(), {x, y, w, h});
        } else if (i % 3 == 0) {
          boxes.insert(boxes.end(), {y + h, x + w, y, x});
        } else {
          boxes.insert(boxes.end(), {y, x, y + h, x + w});
        }
      }
      for (std::int64_t i = 0; i < c.batches * c.classes * c.boxes; ++i) {
        scores.push_back(real(64));
        const auto odd = pick(random, 0, 40);
        if (odd == 0) scores.back() = std::numeric_limits<float>::quiet_NaN();
        if (odd == 1) scores.back() = kNone;
      }
      miniinfer_non_max_suppression_attrs attrs{};
      attrs.max_per_class = c.max_per_class;
      attrs.iou_threshold = c.iou;
      attrs.score_threshold = c.score;
      attrs.center_point = c.center_point;
      RegionBuilder builder;
      const auto b = builder.input(MINIINFER_FLOAT32, {c.batches, c.boxes, 4});
      const auto s = builder.input(MINIINFER_FLOAT32, {c.batches, c.classes, c.boxes});
      const auto selected = builder.output(MINIINFER_INT64, {c.room, 3});
      const auto count = builder.output(MINIINFER_INT64, {1});
      builder.node(MINIINFER_NON_MAX_SUPPRESSION, &attrs, {b, s}, {selected, count});
      const Outputs want =
          run_family(cpu::kNonMaxSuppression, builder, {bytes(boxes), bytes(scores)});
      const Outputs got =
          run_emulated(cuda::kNonMaxSuppression, builder, {raw_bytes(boxes), raw_bytes(scores)});
      REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
      CHECK(got.as<std::int64_t>(1) == want.as<std::int64_t>(1));
      CHECK(got.data[0] == want.data[0]);
    }
  }
}
