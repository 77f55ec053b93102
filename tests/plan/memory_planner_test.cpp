#include "miniinfer/memory_planner.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

namespace {

using namespace miniinfer;

std::vector<PlanBuffer> random_buffers(std::mt19937& random, int count, std::uint32_t steps) {
  std::vector<PlanBuffer> buffers;
  for (int i = 0; i < count; ++i) {
    const std::uint32_t first = random() % steps;
    const std::uint32_t last = first + random() % (steps - first);
    buffers.push_back({random() % 5000, first, last});
  }
  return buffers;
}

TEST_SUITE("plan.memory_planner") {
  TEST_CASE("buffers that are never alive together share memory") {
    const std::vector<PlanBuffer> buffers = {{100, 0, 1}, {100, 2, 3}, {100, 4, 5}};
    const ArenaPlan plan = plan_arena(buffers, 64).value();
    CHECK(plan.bytes == 128);
    CHECK(plan.lower_bound == 128);
    CHECK(plan.offsets == std::vector<std::uint64_t>{0, 0, 0});
  }

  TEST_CASE("a buffer is alive in its last step") {
    const std::vector<PlanBuffer> buffers = {{64, 0, 1}, {64, 1, 2}};
    CHECK(plan_arena(buffers, 64).value().bytes == 128);
  }

  TEST_CASE("random plans pass verification and never go below the bound") {
    std::mt19937 random(7);
    for (int round = 0; round < 300; ++round) {
      const auto buffers = random_buffers(random, 1 + static_cast<int>(random() % 60), 20);
      const ArenaPlan plan = plan_arena(buffers, 64).value();
      REQUIRE(verify_arena(buffers, plan).ok());
      REQUIRE(plan.bytes >= plan.lower_bound);
      for (const std::uint64_t offset : plan.offsets) REQUIRE(offset % 64 == 0);
    }
  }

  TEST_CASE("verification names buffers that overlap") {
    const std::vector<PlanBuffer> buffers = {{64, 0, 2}, {64, 1, 3}};
    ArenaPlan plan = plan_arena(buffers, 64).value();
    plan.offsets[1] = plan.offsets[0] + 32;
    const Status status = verify_arena(buffers, plan);
    CHECK(status.code() == Code::Internal);
    plan.offsets = {0, plan.bytes};
    CHECK(verify_arena(buffers, plan).code() == Code::Internal);
  }

  TEST_CASE("empty buffers need nothing and no buffers give an empty arena") {
    CHECK(plan_arena({}, 64).value().bytes == 0);
    const std::vector<PlanBuffer> buffers = {{0, 0, 9}, {0, 3, 3}};
    CHECK(plan_arena(buffers, 64).value().bytes == 0);
  }

  TEST_CASE("sizes that overflow are refused") {
    const std::vector<PlanBuffer> buffers = {{~std::uint64_t{0} - 8, 0, 0}, {64, 0, 0}};
    CHECK(plan_arena(buffers, 64).status().code() == Code::LimitExceeded);
    CHECK(plan_arena({}, 48).status().code() == Code::InvalidArgument);
    const std::vector<PlanBuffer> reversed = {{64, 3, 1}};
    CHECK(plan_arena(reversed, 64).status().code() == Code::InvalidArgument);
  }
}

}  // namespace
