#include "miniinfer/memory_snapshot.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "core/memory/allocator_upstream.hpp"
#include "core/memory/cpu_allocator.hpp"
#include "core/memory/failure_snapshot.hpp"
#include "tests/memory/subjects.hpp"

namespace miniinfer::testing {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
using State = MemorySnapshot::State;

std::vector<MemorySnapshot::Block> in_state(const MemorySnapshot& snapshot, State state) {
  std::vector<MemorySnapshot::Block> blocks;
  for (const MemorySnapshot::Segment& segment : snapshot.segments) {
    for (const MemorySnapshot::Block& block : segment.blocks) {
      if (block.state == state) blocks.push_back(block);
    }
  }
  return blocks;
}

std::uint64_t bytes_of(const std::vector<MemorySnapshot::Block>& blocks) {
  std::uint64_t bytes = 0;
  for (const MemorySnapshot::Block& block : blocks) bytes += block.bytes;
  return bytes;
}

}  // namespace

TEST_CASE("a snapshot of any allocator can be written, and its segments do not overlap") {
  for_each_subject([](const Subject& subject) {
    std::vector<Block> blocks;
    for (const std::uint64_t bytes : {100u, 70'000u, 3'000'000u, 5u}) {
      blocks.push_back(subject.allocator->allocate({.bytes = bytes, .tag = "t"}).value());
    }
    subject.allocator->deallocate(blocks[1], {});
    blocks.erase(blocks.begin() + 1);
    const MemorySnapshot snapshot = subject.allocator->snapshot();
    CHECK(snapshot.stats.allocated_bytes == subject.allocator->stats().allocated_bytes);
    const Result<std::string> pickle = to_memory_viz(snapshot);
    CHECK_MESSAGE(pickle.ok(), pickle.status().to_string());
    std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
    for (const auto& segment : snapshot.segments)
      places.emplace_back(segment.address, segment.bytes);
    std::sort(places.begin(), places.end());
    for (std::size_t i = 1; i < places.size(); ++i) {
      CHECK(places[i - 1].first + places[i - 1].second <= places[i].first);
    }
    if (!snapshot.segments.empty()) {
      CHECK(in_state(snapshot, State::Active).size() >= blocks.size());
      if (const PoolAllocator* pool = subject.allocator->pool()) {
        std::uint64_t reserved = 0;
        for (const auto& [address, bytes] : places) reserved += bytes;
        CHECK(reserved == pool->pool_stats().reserved_bytes.current);
      }
    }
    for (const Block& block : blocks) subject.allocator->deallocate(block, {});
  });
}

TEST_CASE(
    "a tracker tells a pool's snapshot who asked for what, by stream, and the pool the rest") {
  for (const bool flat : {false, true}) {
    Oracle oracle({.granularity = 65536, .flat = flat});
    const AllocatorPtr pool = pooled(RawMemory(oracle), kMiB);
    const AllocatorPtr tracker = tracking_allocator(pool, {100, "fake:0"});
    const Stream stream = oracle.make_stream();
    REQUIRE(pool->pool()->add_stream(stream).ok());
    const Block tracked =
        tracker->allocate({.bytes = 1000, .stream = stream, .tag = "activations"}).value();
    const Block weights =
        pool->allocate({.bytes = 3000, .lifetime = Lifetime::Weights, .tag = "weights"}).value();
    const MemorySnapshot snapshot = tracker->snapshot();
    const auto active = in_state(snapshot, State::Active);
    REQUIRE(active.size() == 2);
    CHECK(active[0].tag == "activations");
    CHECK(active[0].requested == 1000);
    CHECK(active[0].stream == reinterpret_cast<std::uintptr_t>(stream.handle));
    CHECK(active[0].bytes == 1024);
    CHECK(active[1].tag == "weights");
    CHECK(active[1].requested == 3000);
    CHECK(snapshot.segments.size() == 2);
    CHECK(snapshot.segments[0].lifetime == Lifetime::Transient);
    CHECK(snapshot.segments[1].lifetime == Lifetime::Weights);
    CHECK(snapshot.flat_address == flat);
    REQUIRE(snapshot.events.size() == 1);
    CHECK(snapshot.events[0].address == snapshot.segments[0].address + active[0].offset);
    if (flat) CHECK(snapshot.events[0].address == tracked.handle + tracked.offset);
    tracker->deallocate(tracked, stream);
    pool->deallocate(weights, {});
    oracle.sync(stream);
    pool->pool()->remove_stream(stream);
  }
}

TEST_CASE("what waits for other streams is pending, what a thread keeps is free") {
  Oracle oracle({.flat = true});
  {
    const AllocatorPtr pool = pooled(RawMemory(oracle), kMiB);
    const Stream a = oracle.make_stream(), b = oracle.make_stream();
    for (const Stream stream : {a, b}) REQUIRE(pool->pool()->add_stream(stream).ok());
    const Block first = pool->allocate({.bytes = 512, .stream = a}).value();
    const Block second = pool->allocate({.bytes = 512, .stream = a}).value();
    pool->deallocate(pool->allocate({.bytes = 2048, .stream = a}).value(), a);
    pool->deallocate(pool->allocate({.bytes = 2048, .stream = a}).value(), a);  // in a cache now
    pool->pool()->record_use(second, b);
    pool->deallocate(second, a);
    const MemorySnapshot snapshot = pool->snapshot();
    CHECK(bytes_of(in_state(snapshot, State::Active)) == 512);
    CHECK(bytes_of(in_state(snapshot, State::PendingFree)) == 512);
    CHECK(snapshot.pool.cached_bytes > 0);
    CHECK(bytes_of(in_state(snapshot, State::Inactive)) ==
          snapshot.pool.reserved_bytes.current - 1024);
    pool->deallocate(first, a);
    for (const Stream stream : {a, b}) {
      oracle.sync(stream);
      pool->pool()->remove_stream(stream);
    }
  }
  CHECK(oracle.violations() == "");
}

TEST_CASE("a snapshot is of one moment while threads allocate") {
  const AllocatorPtr pool = pooled(RawMemory(std::make_shared<CPUAllocator>()), kMiB);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    for (std::uint64_t i = 0; !stop.load(); ++i) {
      pool->deallocate(pool->allocate({.bytes = 1 + i % 9000}).value(), {});
    }
  });
  for (int i = 0; i < 200; ++i) {
    const MemorySnapshot snapshot = pool->snapshot();
    CHECK(to_memory_viz(snapshot).ok());
    CHECK(in_state(snapshot, State::Active).size() <= 1);
  }
  stop.store(true);
  other.join();
}

TEST_CASE("without a pool each block in use is a segment") {
  const AllocatorPtr tracker = tracking_allocator(std::make_shared<CPUAllocator>());
  const Block block = tracker->allocate({.bytes = 100, .tag = "x"}).value();
  const MemorySnapshot snapshot = tracker->snapshot();
  REQUIRE(snapshot.segments.size() == 1);
  CHECK(snapshot.segments[0].address == reinterpret_cast<std::uintptr_t>(block.host));
  CHECK(snapshot.segments[0].blocks[0].tag == "x");
  tracker->deallocate(block, {});
}

TEST_CASE("what PyTorch's viewer cannot show is an error and no file") {
  MemorySnapshot snapshot;
  snapshot.segments.emplace_back();
  snapshot.segments[0].bytes = 512;
  CHECK(to_memory_viz(snapshot).status().code() == Code::InvalidArgument);  // not tiled
  snapshot.segments[0].blocks.push_back({0, 512, 600, State::Active, 0, ""});
  CHECK_FALSE(to_memory_viz(snapshot).ok());  // more asked for than there is
  snapshot.segments[0].blocks[0].requested = 512;
  CHECK(to_memory_viz(snapshot).ok());
  snapshot.segments[0].address = (std::uint64_t{1} << 53) - 511;
  CHECK_FALSE(to_memory_viz(snapshot).ok());
  snapshot.segments[0].address = std::uint64_t{1} << 56;
  CHECK(to_memory_viz(snapshot).ok());
  snapshot.events.emplace_back();
  CHECK_FALSE(to_memory_viz(snapshot).ok());  // far away
  snapshot.events[0].address = snapshot.segments[0].address + 8;
  CHECK(to_memory_viz(snapshot).ok());
  snapshot.device = "fake:99999999";
  CHECK_FALSE(to_memory_viz(snapshot).ok());
  CHECK(snapshot_file(snapshot, "x.txt").status().hint() ==
        "the file's ending is .pickle, .json or .csv");
  CHECK(write_snapshot({}, "/no/such/folder/x.json").code() == Code::InvalidArgument);
}

TEST_CASE("the file of a failure has device and process in its name") {
  const std::string folder = std::filesystem::temp_directory_path();
  CHECK(failure_snapshot_path(folder, "fake:0", 7) == folder + "/memory-fake-0-7.pickle");
  CHECK(failure_snapshot_path("/no/such/", "fake:0/pinned", 7) ==
        "/no/such/memory-fake-0-pinned-7.pickle");
  CHECK(failure_snapshot_path("a/oom.json", "fake:1", 42) == "a/oom-fake-1-42.json");
}

TEST_CASE(
    "the pool that first fails is written where the environment says, and the hint names it") {
  const std::string file =
      std::filesystem::temp_directory_path() / ("miniinfer-" + std::to_string(::getpid()) + ".csv");
  ::setenv("MINIINFER_MEMORY_SNAPSHOT", file.c_str(), 1);
  PoolOptions options;
  options.limit = kMiB;
  const AllocatorPtr pool =
      make_pool(std::make_shared<AllocatorUpstream>(std::make_shared<CPUAllocator>(),
                                                    MemoryKind::Device, nullptr),
                "x:0", options, nullptr);
  const Status first = pool->allocate({.bytes = 2 * kMiB}).status();
  const Status second = pool->allocate({.bytes = 2 * kMiB}).status();
  ::unsetenv("MINIINFER_MEMORY_SNAPSHOT");
  const std::string path = failure_snapshot_path(file, "x:0", ::getpid());
  CHECK(first.hint().ends_with("; what lies where is in " + path));
  CHECK(first.memory_report() != nullptr);
  CHECK(second.hint().find(path) == std::string_view::npos);
  CHECK(std::filesystem::remove(path));
}

}  // namespace miniinfer::testing
