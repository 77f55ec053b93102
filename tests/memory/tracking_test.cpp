#include "miniinfer/tracking_allocator.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "core/base/log.hpp"
#include "core/memory/allocator_upstream.hpp"
#include "core/memory/cpu_allocator.hpp"
#include "core/memory/fault_allocator.hpp"
#include "core/memory/pool/make_pool.hpp"
#include "miniinfer/memory_snapshot.hpp"

namespace miniinfer {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

AllocatorPtr pool() {
  return make_pool(std::make_shared<AllocatorUpstream>(std::make_shared<CPUAllocator>(),
                                                       MemoryKind::Device, nullptr),
                   "x:0", PoolOptions{}, nullptr);
}

// A tracker over a pool, unless told otherwise.
struct Fixture {
  explicit Fixture(std::size_t history = 0, AllocatorPtr upstream = pool())
      : allocator(tracking_allocator(std::move(upstream), {history, "x:0"})) {}
  Block take(std::uint64_t bytes, std::string_view tag = {}) {
    return allocator->allocate({.bytes = bytes, .tag = tag}).value();
  }
  void give(const Block& block) { allocator->deallocate(block, {}); }
  TrackingAllocator& tracker() { return *allocator->tracker(); }

  AllocatorPtr allocator;
};

// What the log says meanwhile.
class Log {
 public:
  Log() {
    set_log(
        [this](int, std::string_view, std::string_view text) {
          const std::lock_guard lock(mutex_);
          lines.emplace_back(text);
        },
        MINIINFER_LOG_INFO);
  }
  ~Log() { set_log(nullptr, MINIINFER_LOG_OFF); }

  std::vector<std::string> lines;

 private:
  std::mutex mutex_;
};

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

TEST_CASE("a tracker knows each block in use, in the order in which they were given") {
  Fixture f;
  int stream = 0;
  const Block a = f.allocator->allocate({.bytes = 100, .stream = {&stream}, .tag = "x"}).value();
  const Block b = f.take(200, "weights");
  const Block c = f.take(300);
  f.give(b);
  const std::vector<LiveBlock> blocks = f.tracker().live_blocks();
  REQUIRE(blocks.size() == 2);
  CHECK(blocks[0].tag == "x");
  CHECK(blocks[0].bytes == 100);
  CHECK(blocks[0].handle + blocks[0].offset == a.handle + a.offset);
  CHECK(blocks[0].stream == reinterpret_cast<std::uintptr_t>(&stream));
  CHECK(blocks[0].thread == static_cast<std::uint32_t>(::gettid()));
  CHECK(blocks[0].sequence == 1);
  CHECK(blocks[1].tag == "");
  CHECK(blocks[1].sequence == 3);
  f.give(a);
  f.give(c);
  CHECK(f.tracker().live_blocks().empty());
}

TEST_CASE("statistics by tag count what is in use and what ever was") {
  Fixture f;
  const Block a = f.take(100, "small");
  const Block b = f.take(kMiB, "large");
  f.give(f.take(50, "small"));
  const std::vector<TagStats> tags = f.tracker().tags();
  REQUIRE(tags.size() == 2);
  CHECK(tags[0].tag == "large");
  CHECK(tags[1].tag == "small");
  CHECK(tags[1].blocks == 1);
  CHECK(tags[1].bytes == 100);
  CHECK(tags[1].allocations == 2);
  CHECK(tags[1].allocated_bytes == 150);
  f.give(a);
  f.give(b);
}

TEST_CASE("tags beyond those that are told apart are others") {
  Fixture f;
  for (int i = 0; i < 1000; ++i) f.give(f.take(8, "tag " + std::to_string(i)));
  const std::vector<TagStats> tags = f.tracker().tags();
  CHECK(tags.size() == 255);
  std::uint64_t allocations = 0, others = 0;
  for (const TagStats& tag : tags) {
    allocations += tag.allocations;
    if (tag.tag == "others") others = tag.allocations;
  }
  CHECK(allocations == 1000);
  CHECK(others == 1000 - 254);
}

TEST_CASE("blocks that come back twice or from elsewhere are counted and not passed on") {
  Log log;
  const AllocatorPtr upstream = pool();
  Fixture f(0, upstream), other;
  const Block a = f.take(64);
  f.give(a);
  f.give(a);  // twice
  const Block again = f.take(64);
  f.give(a);               // twice, and its node is in use again
  f.give(other.take(64));  // another tracker's
  Block bare = upstream->allocate({.bytes = 64}).value();
  f.give(bare);  // not tracked
  Block shifted = again;
  shifted.offset += 64;
  f.give(shifted);
  CHECK(f.tracker().refused_frees() == 5);
  CHECK(log.lines.size() == 5);
  CHECK(contains(log.lines[0], "64 B) is not taken back by the tracker of x:0"));
  CHECK(f.allocator->stats().allocated_bytes == 64);
  CHECK(upstream->pool()->pool_stats().num_refused_frees == 0);
  f.give(again);
  CHECK(f.allocator->stats().frees == 2);
  upstream->deallocate(bare, {});
  CHECK(upstream->stats().allocated_bytes == 0);
}

TEST_CASE("of threads that give one block back at the same instant one is believed") {
  Log log;
  constexpr int kThreads = 3, kRounds = 2000;
  Fixture f;
  std::atomic<int> arrived{0};
  std::vector<Block> blocks(kRounds);
  for (Block& block : blocks) block = f.take(64);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        arrived.fetch_add(1);
        while (arrived.load() < (i + 1) * kThreads) std::this_thread::yield();
        f.give(blocks[i]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(f.allocator->stats().frees == kRounds);
  CHECK(f.tracker().refused_frees() == (kThreads - 1) * kRounds);
  CHECK(f.allocator->pool()->check() == "");
}

TEST_CASE("a tracker that ends with blocks in use says which, most bytes first") {
  Log log;
  {
    Fixture f;
    for (int i = 0; i < 3; ++i) static_cast<void>(f.take(kMiB, "weights"));
    static_cast<void>(f.take(100));
    const std::vector<LiveGroup> groups = f.tracker().live_groups();
    REQUIRE(groups.size() == 2);
    CHECK(groups[0].tag == "weights");
    CHECK(groups[0].block_bytes == kMiB);
    CHECK(groups[0].blocks == 3);
  }
  REQUIRE(log.lines.size() == 1);
  CHECK(log.lines[0] ==
        "the tracker of x:0 ends with 4 blocks (3.0 MiB) in use: 3 x 1.0 MiB for "
        "weights, 1 x 100 B without a name");
}

TEST_CASE("a tracker that ends with nothing in use says nothing") {
  Log log;
  {
    Fixture f;
    f.give(f.take(8));
  }
  CHECK(log.lines.empty());
}

TEST_CASE("the peak of one thread is exact, below and above what is counted at once") {
  Fixture f;
  const Block a = f.take(300), b = f.take(400);
  f.give(a);
  CHECK(f.allocator->stats().peak_allocated_bytes == 700);
  const Block c = f.take(5 * kMiB);
  f.give(c);
  const Block d = f.take(kMiB / 2);
  CHECK(f.allocator->stats().peak_allocated_bytes == 5 * kMiB + 400);
  f.give(d);
  f.give(b);
  CHECK(f.allocator->stats().peak_allocated_bytes == 5 * kMiB + 400);
}

TEST_CASE("the peak of several threads is right to a mebibyte for each") {
  constexpr std::uint64_t kThreads = 4, kEach = 3 * kMiB + 17;
  Fixture f;
  std::atomic<std::uint64_t> arrived{0};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      std::vector<Block> blocks;
      for (int i = 0; i < 17; ++i) blocks.push_back(f.take(kEach / 17));
      arrived.fetch_add(1);
      while (arrived.load() < kThreads) std::this_thread::yield();
      for (const Block& block : blocks) f.give(block);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::uint64_t peak = f.allocator->stats().peak_allocated_bytes;
  const std::uint64_t most = kThreads * (kEach / 17 * 17);
  CHECK(peak <= most + kThreads * kMiB);
  CHECK(peak >= most - kThreads * kMiB);
}

TEST_CASE("threads that only take and threads that only give back need no more nodes") {
  Fixture f;
  std::vector<Block> handed(64);
  std::atomic<int> full{0}, empty{0};
  std::thread giver([&] {
    for (int round = 1; round <= 500; ++round) {
      while (full.load() < round) std::this_thread::yield();
      for (const Block& block : handed) f.give(block);
      empty.store(round);
    }
  });
  for (int round = 1; round <= 500; ++round) {
    for (Block& block : handed) block = f.take(64);
    full.store(round);
    while (empty.load() < round) std::this_thread::yield();
  }
  giver.join();
  CHECK(f.allocator->stats().frees == 500 * 64);
  CHECK(f.tracker().live_blocks().empty());
}

TEST_CASE("threads and trackers end in any order") {
  auto f = std::make_unique<Fixture>();
  std::atomic<int> stage{0};
  std::thread outlives([&] {
    f->give(f->take(8, "outlives"));
    stage.store(1);
    while (stage.load() < 2) std::this_thread::yield();
    Fixture next;
    next.give(next.take(8));
    CHECK(next.allocator->stats().allocations == 1);
  });
  for (int i = 0; i < 100; ++i) {
    std::thread([&] { f->give(f->take(16, "short")); }).join();
  }
  while (stage.load() < 1) std::this_thread::yield();
  CHECK(f->allocator->stats().allocations == 101);
  CHECK(f->tracker().tags().size() == 2);
  f.reset();
  stage.store(2);
  outlives.join();
}

TEST_CASE("what a thread gives back while its own things are destroyed is counted") {
  Fixture f;
  struct Keeper {
    Fixture* fixture = nullptr;
    Block block;
    ~Keeper() {
      fixture->give(block);
      fixture->give(fixture->take(24));
    }
  };
  std::thread([&] {
    thread_local Keeper keeper;  // made before the tracker's own, and so destroyed after them
    keeper.fixture = &f;
    keeper.block = f.take(8);
  }).join();
  CHECK(f.allocator->stats().frees == 2);
  CHECK(f.tracker().live_blocks().empty());
}

TEST_CASE("events are kept per thread, as many as asked for, and read in the order of time") {
  Fixture f(/*history=*/4);
  for (int i = 0; i < 10; ++i) f.give(f.take(100 + static_cast<std::uint64_t>(i), "loop"));
  std::thread([&] { f.give(f.take(5, "thread")); }).join();
  CHECK_FALSE(f.allocator->allocate({.bytes = std::uint64_t{1} << 60, .tag = "much"}).ok());
  const std::vector<MemoryEvent> events = f.tracker().events();
  REQUIRE(events.size() == 6);
  const auto is = [&](std::size_t i, MemoryEvent::Kind kind, std::uint64_t bytes) {
    return events[i].kind == kind && events[i].bytes == bytes;
  };
  CHECK(is(0, MemoryEvent::Kind::Free, 108));
  CHECK(is(1, MemoryEvent::Kind::Allocate, 109));
  CHECK(is(2, MemoryEvent::Kind::Free, 109));
  CHECK(is(3, MemoryEvent::Kind::Allocate, 5));
  CHECK(is(4, MemoryEvent::Kind::Free, 5));
  CHECK(is(5, MemoryEvent::Kind::Failure, std::uint64_t{1} << 60));
  CHECK(events[1].address == events[2].address);
  CHECK(events[3].thread != events[1].thread);
  CHECK(events[5].tag == "much");
  for (std::size_t i = 1; i < events.size(); ++i) CHECK(events[i - 1].time <= events[i].time);
}

TEST_CASE("what a tracker says while threads allocate is of blocks that there were") {
  Fixture f(/*history=*/8);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 1; t <= 2; ++t) {
    threads.emplace_back([&, t] {
      while (!stop.load()) f.give(f.take(t * 1000, t == 1 ? "one" : "two"));
    });
  }
  for (int i = 0; i < 200; ++i) {
    for (const LiveBlock& block : f.tracker().live_blocks()) {
      CHECK(block.bytes == (block.tag == "one" ? 1000 : 2000));
    }
    for (const MemoryEvent& event : f.tracker().events()) {
      CHECK(event.bytes == (event.tag == "one" ? 1000 : 2000));
    }
    const MemoryStats stats = f.allocator->stats();
    CHECK(stats.frees <= stats.allocations);
    CHECK(stats.allocated_bytes <= stats.peak_allocated_bytes);
  }
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("a request that the upstream refuses is a failure, and no block") {
  const auto fault = std::make_shared<FaultAllocator>(std::make_shared<CPUAllocator>());
  Fixture f(/*history=*/2, fault);
  fault->fail_at(1);
  CHECK_FALSE(f.allocator->allocate({.bytes = 8}).ok());
  CHECK(f.allocator->stats().failures == 1);
  CHECK(f.tracker().live_blocks().empty());
  CHECK(f.tracker().events().size() == 1);
  CHECK(f.allocator->pool() == nullptr);
}

TEST_CASE("trackers wrap trackers, and each has its own numbers") {
  const AllocatorPtr inner = tracking_allocator(pool());
  Fixture f(0, inner);
  const Block block = f.take(10, "both");
  const Block only = inner->allocate({.bytes = 20}).value();
  CHECK(f.tracker().live_blocks().size() == 1);
  CHECK(inner->tracker()->live_blocks().size() == 2);
  f.allocator->pool()->record_use(block, {});
  f.give(block);
  inner->deallocate(only, {});
  CHECK(f.tracker().refused_frees() + inner->tracker()->refused_frees() == 0);
}

}  // namespace miniinfer
