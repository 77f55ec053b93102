#include "miniinfer/memory_planner.hpp"

#include <doctest/doctest.h>

#include "tests/plan/arena_case.hpp"

namespace {

using namespace miniinfer;

constexpr std::uint64_t kMax = ~std::uint64_t{0};

TEST_SUITE("plan.memory_planner") {
  TEST_CASE("buffers that are never alive together share memory") {
    const std::vector<PlanBuffer> buffers = {{100, 0, 2}, {100, 2, 4}, {100, 4, 6}};
    const ArenaPlan plan = plan_arena(buffers).value();
    CHECK(plan.bytes == 100);
    CHECK(plan.optimal());
    CHECK(plan.offsets == std::vector<std::uint64_t>{0, 0, 0});
  }

  TEST_CASE("buffers that are alive together do not") {
    const std::vector<PlanBuffer> buffers = {{64, 0, 2}, {64, 1, 3}};
    CHECK(plan_arena(buffers).value().bytes == 128);
  }

  TEST_CASE("random plans pass verification, are aligned and never go below the bound") {
    std::mt19937 random(7);
    for (int round = 0; round < 300; ++round) {
      const auto buffers = random_buffers(
          random, {.count = 1 + random() % 60, .times = 20, .sizes = 5000, .alignments = 8});
      const ArenaPlan plan = plan_arena(buffers).value();
      REQUIRE(verify_arena(buffers, plan).ok());
      REQUIRE(plan.bytes >= plan.lower_bound);
      REQUIRE(plan.lower_bound == arena_lower_bound(buffers).value());
      REQUIRE(plan.nodes == 0);
    }
  }

  TEST_CASE("buffers of no bytes or no lifetime need nothing, and no buffers an empty arena") {
    CHECK(plan_arena({}).value().bytes == 0);
    CHECK(plan_arena({}, {.capacity = 0}).value().optimal());
    const std::vector<PlanBuffer> buffers = {{0, 0, 9}, {0, 3, 4, 4096}, {64, 5, 5}, {8, 1, 2}};
    const ArenaPlan plan = plan_arena(buffers).value();
    CHECK(plan.lower_bound == 8);
    CHECK(plan.offsets == std::vector<std::uint64_t>{0, 0, 0, 0});
  }

  TEST_CASE("a buffer that cannot be is refused by its number") {
    const auto refused = [](PlanBuffer buffer) {
      const std::vector<PlanBuffer> buffers = {{1, 0, 1}, buffer};
      const Status status = plan_arena(buffers, {.nodes = 100}).status();
      CHECK(status.message().find("buffer 1") != std::string_view::npos);
      CHECK(arena_lower_bound(buffers).status().code() == status.code());
      return status.code();
    };
    CHECK(refused({64, 3, 1}) == Code::InvalidArgument);
    CHECK(refused({64, 1, 3, 48}) == Code::InvalidArgument);
    CHECK(refused({64, 1, 3, 0}) == Code::InvalidArgument);
    CHECK(refused({kMax, 1, 3}) == Code::LimitExceeded);
    CHECK(refused({kMax - 8, 1, 3, 64}) == Code::LimitExceeded);
    CHECK(refused({std::uint64_t{1} << 62, 1, 3}) == Code::LimitExceeded);
    CHECK(refused({1, 1, 3, std::uint64_t{1} << 63}) == Code::LimitExceeded);
  }

  TEST_CASE("sizes up to the limit and times up to the last are planned") {
    const std::vector<PlanBuffer> buffers = {
        {(std::uint64_t{1} << 62) - 2, 0, kMax}, {1, 0, 1}, {1, kMax - 1, kMax}};
    const ArenaPlan plan = plan_arena(buffers, {.nodes = 100}).value();
    CHECK(verify_arena(buffers, plan).ok());
    CHECK(plan.bytes == (std::uint64_t{1} << 62) - 1);
  }

  TEST_CASE("a capacity that is too small is an error that says whether that is proven") {
    const std::vector<PlanBuffer> buffers = {{64, 0, 2}, {64, 1, 3}};
    CHECK(plan_arena(buffers, {.capacity = 128}).value().bytes == 128);
    Status status = plan_arena(buffers, {.capacity = 127}).status();
    CHECK(status.code() == Code::LimitExceeded);
    CHECK(status.message().find("128 are needed") != std::string_view::npos);

    std::mt19937 random(3);
    const std::vector<PlanBuffer> hard = perfect_buffers(random, 60, 1 << 20, 1 << 16);
    CHECK(plan_arena(hard, {.capacity = 1 << 20}).status().code() == Code::Timeout);
    CHECK(plan_arena(hard, {.capacity = 1 << 20, .nodes = kMax, .time = {}}).status().code() ==
          Code::Timeout);
    std::stop_source source;
    source.request_stop();
    CHECK(plan_arena(hard, {.capacity = 1 << 20, .nodes = kMax, .stop = source.get_token()})
              .status()
              .code() == Code::Cancelled);
  }

  TEST_CASE("verification refuses every kind of wrong plan") {
    const std::vector<PlanBuffer> buffers = {{64, 0, 3, 32}, {64, 1, 4, 32}};
    const ArenaPlan plan = plan_arena(buffers).value();
    const auto code = [&](std::vector<std::uint64_t> offsets, std::uint64_t bytes) {
      return verify_arena(buffers, {.offsets = std::move(offsets), .bytes = bytes}).code();
    };
    CHECK(code(plan.offsets, 128) == Code::Ok);
    CHECK(code({0}, 128) == Code::Internal);
    CHECK(code({0, 32}, 128) == Code::Internal);
    CHECK(code({32, 0}, 128) == Code::Internal);
    CHECK(code({0, 0}, 128) == Code::Internal);
    CHECK(code({0, 64}, 127) == Code::Internal);
    CHECK(code({0, 65}, 256) == Code::Internal);
    CHECK(code({0, kMax - 31}, kMax) == Code::Internal);
  }

  TEST_CASE("verification refuses every valid plan in which one buffer was moved into another") {
    std::mt19937 random(11);
    for (int round = 0; round < 200; ++round) {
      const auto buffers =
          random_buffers(random, {.count = 2 + random() % 20, .times = 6, .sizes = 50});
      ArenaPlan plan = plan_arena(buffers).value();
      for (std::size_t i = 0; i < buffers.size(); ++i) {
        for (std::size_t j = 0; j < buffers.size(); ++j) {
          if (i == j || buffers[i].begin >= buffers[j].end || buffers[j].begin >= buffers[i].end) {
            continue;
          }
          ArenaPlan moved = plan;
          moved.offsets[i] = plan.offsets[j] + buffers[j].bytes - 1;
          moved.bytes += buffers[i].bytes;
          REQUIRE(verify_arena(buffers, moved).code() == Code::Internal);
        }
      }
    }
  }
}

}  // namespace
