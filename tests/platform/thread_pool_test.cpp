#include "core/platform/thread_pool.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace miniinfer {
namespace {

using Body = std::function<miniinfer_code(std::uint64_t, std::uint64_t, std::uint32_t)>;

miniinfer_code run(ThreadPool& pool, std::uint64_t count, std::uint64_t grain,
                   std::uint32_t max_threads, const Body& body) {
  return pool.parallel_for(
      count, grain, max_threads,
      [](void* context, std::uint64_t begin, std::uint64_t end, std::uint32_t worker) {
        return (*static_cast<const Body*>(context))(begin, end, worker);
      },
      const_cast<Body*>(&body));
}

// How often each item was handed out.
struct Tally {
  explicit Tally(std::uint64_t count) : hits(count) {}
  bool each_once() const {
    return std::all_of(hits.begin(), hits.end(), [](const auto& n) { return n.load() == 1; });
  }
  std::vector<std::atomic<int>> hits;
};

TEST_CASE("Each item is handed out once, whatever the count, the grain and the threads") {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (const std::uint64_t count : {0, 1, 2, 63, 1000}) {
      for (const std::uint64_t grain : {0, 1, 7, 1000, 5000}) {
        CAPTURE(threads);
        CAPTURE(count);
        CAPTURE(grain);
        Tally tally(count);
        CHECK(run(pool, count, grain, 0, [&](auto begin, auto end, auto) {
                CHECK(begin < end);
                for (auto i = begin; i < end; ++i) ++tally.hits[i];
                return MINIINFER_OK;
              }) == MINIINFER_OK);
        CHECK(tally.each_once());
      }
    }
  }
}

TEST_CASE("No two bodies run at one time under one worker number, and all are below the limit") {
  ThreadPool pool(6);
  for (const std::uint32_t limit : {1u, 2u, 3u, 6u, 100u, 0u}) {
    CAPTURE(limit);
    const std::uint32_t most = limit == 0 ? 6 : std::min(limit, 6u);
    std::vector<std::atomic<int>> inside(6);
    std::atomic<int> clashes{0};
    for (int round = 0; round < 20; ++round) {
      CHECK(run(pool, 200, 1, limit, [&](auto, auto, auto worker) {
              if (worker >= most || inside[worker].fetch_add(1) != 0) ++clashes;
              std::this_thread::yield();
              if (worker < most) inside[worker].fetch_sub(1);
              return MINIINFER_OK;
            }) == MINIINFER_OK);
    }
    CHECK(clashes == 0);
  }
}

TEST_CASE("Other threads than the caller take part") {
  ThreadPool pool(3);
  std::atomic<bool> other{false};
  const std::thread::id caller = std::this_thread::get_id();
  // The caller's first piece waits for somebody else's.
  CHECK(run(pool, 1000, 1, 0, [&](auto, auto, auto worker) {
          const bool is_caller = std::this_thread::get_id() == caller;
          if (is_caller != (worker == 0)) return MINIINFER_INTERNAL;
          if (!is_caller) other = true;
          while (is_caller && !other) std::this_thread::yield();
          return MINIINFER_OK;
        }) == MINIINFER_OK);
  CHECK(other);
}

TEST_CASE("A loop of one piece runs on its caller") {
  ThreadPool pool(4);
  const std::thread::id caller = std::this_thread::get_id();
  int calls = 0;
  CHECK(run(pool, 100, 100, 0, [&](auto begin, auto end, auto worker) {
          ++calls;
          CHECK(begin == 0);
          CHECK(end == 100);
          CHECK(worker == 0);
          CHECK(std::this_thread::get_id() == caller);
          return MINIINFER_OK;
        }) == MINIINFER_OK);
  CHECK(calls == 1);
}

TEST_CASE("A loop inside a loop runs on its caller, as worker 0") {
  ThreadPool pool(4);
  std::atomic<int> strangers{0};
  Tally tally(50 * 50);
  CHECK(run(pool, 50, 1, 0, [&](auto outer, auto, auto) {
          const std::thread::id here = std::this_thread::get_id();
          return run(pool, 50, 1, 0, [&, here](auto begin, auto end, auto worker) {
            if (std::this_thread::get_id() != here || worker != 0) ++strangers;
            for (auto i = begin; i < end; ++i) ++tally.hits[outer * 50 + i];
            return MINIINFER_OK;
          });
        }) == MINIINFER_OK);
  CHECK(strangers == 0);
  CHECK(tally.each_once());
}

TEST_CASE("Loops of several threads at one time are all complete") {
  ThreadPool pool(3);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        std::atomic<std::uint64_t> sum{0};
        const miniinfer_code code = run(pool, 100, 3, 0, [&](auto begin, auto end, auto) {
          for (auto i = begin; i < end; ++i) sum += i;
          return MINIINFER_OK;
        });
        if (code != MINIINFER_OK || sum != 4950) ++wrong;
      }
    });
  }
  for (std::thread& thread : callers) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("What a body writes without locks is there when the loop returns") {
  ThreadPool pool(4);
  std::vector<int> values(997);
  for (int round = 1; round < 300; ++round) {
    (void)run(pool, values.size(), 10, 0, [&](auto begin, auto end, auto) {
      for (auto i = begin; i < end; ++i) values[i] += 1;
      return MINIINFER_OK;
    });
    REQUIRE(std::count(values.begin(), values.end(), round) == 997);
  }
}

TEST_CASE("The first failure is the loop's, and pieces not begun are not run") {
  for (const int threads : {1, 4}) {
    ThreadPool pool(threads);
    std::atomic<int> calls{0};
    CHECK(run(pool, 1'000'000, 1, 0, [&](auto, auto, auto) {
            ++calls;
            return MINIINFER_OUT_OF_MEMORY;
          }) == MINIINFER_OUT_OF_MEMORY);
    CHECK(calls >= 1);
    CHECK(calls <= threads);
    // The pool is good for the next loop.
    CHECK(run(pool, 10, 1, 0, [](auto, auto, auto) { return MINIINFER_OK; }) == MINIINFER_OK);
  }
}

TEST_CASE("Pools come and go, used and unused, without hanging") {
  for (int round = 0; round < 30; ++round) {
    ThreadPool pool(4);
    if (round % 2 == 0) {
      (void)run(pool, 100, 1, 0, [](auto, auto, auto) { return MINIINFER_OK; });
    }
  }
}

TEST_CASE("The number of usable cores is at least one and at most the affinity mask's") {
  const CoreCount count = count_cores();
  CHECK(count.affinity >= 1);
  CHECK(count.physical >= 1);
  CHECK(count.physical <= count.affinity);
  CHECK(count.cgroup_cpus >= 0);
  const int usable = usable_cores();
  CHECK(usable >= 1);
  CHECK(usable <= count.affinity);
  if (count.cgroup_cpus > 0) CHECK(usable < count.cgroup_cpus + 1);
}

}  // namespace
}  // namespace miniinfer
