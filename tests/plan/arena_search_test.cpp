#include "core/plan/arena_search.hpp"

#include <doctest/doctest.h>

#include <functional>

#include "core/base/checked_math.hpp"
#include "tests/plan/arena_case.hpp"

namespace {

using namespace miniinfer;

constexpr std::uint64_t kMax = ~std::uint64_t{0};

bool meet(const PlanBuffer& a, const PlanBuffer& b) { return a.begin < b.end && b.begin < a.end; }

// The smallest arena: every order of the buffers, each at the lowest offset that is free. Some
// order gives every plan in which nothing can be moved down.
std::uint64_t smallest(std::span<const PlanBuffer> buffers) {
  std::vector<std::uint64_t> offsets(buffers.size());
  std::vector<bool> is_placed(buffers.size());
  std::uint64_t best = kMax;
  const std::function<void(std::size_t, std::uint64_t)> place = [&](std::size_t count,
                                                                    std::uint64_t bytes) {
    if (bytes >= best) return;
    if (count == buffers.size()) best = bytes;
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      if (is_placed[i]) continue;
      std::uint64_t offset = 0;
      for (bool moved = true; moved;) {
        moved = false;
        for (std::size_t k = 0; k < buffers.size(); ++k) {
          if (!is_placed[k] || !meet(buffers[i], buffers[k]) ||
              offset >= offsets[k] + buffers[k].bytes || offsets[k] >= offset + buffers[i].bytes) {
            continue;
          }
          offset = align_up(offsets[k] + buffers[k].bytes, buffers[i].alignment);
          moved = true;
        }
      }
      is_placed[i] = true;
      offsets[i] = offset;
      place(count + 1, std::max(bytes, offset + buffers[i].bytes));
      is_placed[i] = false;
    }
  };
  place(0, 0);
  return best;
}

TEST_SUITE("plan.arena_search") {
  TEST_CASE("what the search proves is what trying everything finds") {
    std::mt19937 random(5);
    int raised = 0;
    int greedy_misses = 0;
    for (int round = 0; round < 1500; ++round) {
      const RandomBuffers how{.count = 2 + random() % 6,
                              .times = 2 + random() % 8,
                              .sizes = 1 + random() % 12,
                              .alignments = round % 3 == 0 ? 4u : 1u};
      const auto buffers = random_buffers(random, how);
      const std::uint64_t best = smallest(buffers);
      const ArenaPlan plan = plan_arena(buffers, {.nodes = kMax}).value();
      CAPTURE(round);
      REQUIRE(plan.bytes == best);
      REQUIRE(plan.lower_bound == best);
      REQUIRE(verify_arena(buffers, plan).ok());
      raised += plan.lower_bound > arena_lower_bound(buffers).value() ? 1 : 0;
      greedy_misses += plan_arena(buffers).value().bytes > best ? 1 : 0;
      REQUIRE(plan_arena(buffers, {.capacity = best, .nodes = kMax}).ok());
      REQUIRE(plan_arena(buffers, {.capacity = best - 1, .nodes = kMax}).status().code() ==
              Code::LimitExceeded);
    }
    CHECK(raised > 50);
    CHECK(greedy_misses > 50);
  }

  TEST_CASE("a rectangle that was cut up is put together again") {
    std::mt19937 random(1);
    for (const std::size_t count : {20, 40, 60, 80}) {
      for (int round = 0; round < 5; ++round) {
        const auto buffers = perfect_buffers(random, count, 1 << 20, 1 << 16);
        const ArenaPlan plan = plan_arena(buffers, {.nodes = 3000000}).value();
        CAPTURE(count);
        CAPTURE(round);
        CHECK(plan.bytes == 1 << 20);
        CHECK(verify_arena(buffers, plan).ok());
      }
    }
  }

  TEST_CASE("a search improves on greedy plans, the same way every time") {
    std::mt19937 random(9);
    std::uint64_t gained = 0;
    for (int round = 0; round < 20; ++round) {
      const auto buffers =
          random_buffers(random, {.count = 80, .times = 60, .sizes = 1 << 16, .alignments = 3});
      const ArenaPlan greedy = plan_arena(buffers).value();
      const ArenaPlan plan = plan_arena(buffers, {.nodes = 3000}).value();
      REQUIRE(verify_arena(buffers, plan).ok());
      REQUIRE(plan.bytes <= greedy.bytes);
      REQUIRE(plan.nodes <= 3000);
      gained += greedy.bytes - plan.bytes;
      const ArenaPlan again = plan_arena(buffers, {.nodes = 3000}).value();
      REQUIRE(again.offsets == plan.offsets);
      REQUIRE(again.lower_bound == plan.lower_bound);
    }
    CHECK(gained > 0);
  }

  TEST_CASE("parts that share no moment are planned apart") {
    std::mt19937 random(2);
    std::vector<PlanBuffer> buffers;
    for (std::uint64_t part = 0; part < 200; ++part) {
      for (PlanBuffer buffer : perfect_buffers(random, 12, 4096 + part, 1000)) {
        buffer.begin += part * 1000;
        buffer.end += part * 1000;
        buffers.push_back(buffer);
      }
    }
    const ArenaPlan plan = plan_arena(buffers, {.nodes = 3000000}).value();
    CHECK(plan.bytes == 4096 + 199);
    CHECK(verify_arena(buffers, plan).ok());
  }

  TEST_CASE("the time is kept") {
    std::mt19937 random(4);
    const auto buffers = random_buffers(random, {.count = 1500, .times = 400, .sizes = 1 << 20});
    const auto begin = std::chrono::steady_clock::now();
    const ArenaPlan plan =
        plan_arena(buffers, {.nodes = kMax, .time = std::chrono::milliseconds(200)}).value();
    const auto took = std::chrono::steady_clock::now() - begin;
    CHECK(took < std::chrono::seconds(10));
    CHECK(verify_arena(buffers, plan).ok());
  }
}

}  // namespace
