#include "core/memory/announced_pool.hpp"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <string>

#include "core/memory/allocator_upstream.hpp"
#include "core/memory/cpu_allocator.hpp"
#include "tests/support/oracle.hpp"

namespace miniinfer::testing {
namespace {

// A pool over a device that can map memory, which an announced pool does not.
struct Fixture {
  explicit Fixture(bool annotate = true) : oracle({.granularity = 65536, .flat = true}) {
    PoolOptions options;
    options.annotate = annotate;
    pool = make_announced_pool(oracle.shared_upstream(), "fake:0", options, nullptr);
    stream = oracle.make_stream();
    REQUIRE(pool->add_stream(stream).ok());
  }
  ~Fixture() {
    oracle.sync(stream);
    pool->remove_stream(stream);
    pool.reset();
    CHECK(oracle.regions().empty());
    CHECK(oracle.violations() == "");
  }
  Block take(std::uint64_t bytes, std::string_view tag = {}) {
    return pool->allocate({.bytes = bytes, .stream = stream, .tag = tag}).value();
  }

  Oracle oracle;
  std::shared_ptr<PoolAllocator> pool;
  Stream stream;
};

}  // namespace

TEST_CASE("a block is a region exactly while it is in use, with the bounds that were asked for") {
  Fixture f;
  std::mt19937_64 random(1);
  std::map<std::pair<std::uint64_t, std::uint64_t>, Block> live;
  for (int i = 0; i < 2000; ++i) {
    if (live.size() < 40 && random() % 2 == 0) {
      const Block block = f.take(1 + random() % 300'000);
      live[{block.handle, block.offset}] = block;
      CHECK(f.oracle.write(f.stream, block).ok());
    } else if (!live.empty()) {
      const auto chosen = std::next(live.begin(), static_cast<long>(random() % live.size()));
      f.pool->deallocate(chosen->second, f.stream);
      live.erase(chosen);
    }
    const std::vector<miniinfer_fake_region> regions = f.oracle.regions();
    REQUIRE(regions.size() == live.size());
    for (const miniinfer_fake_region& region : regions) {
      const auto found = live.find({region.mem.handle, region.mem.offset});
      REQUIRE(found != live.end());
      CHECK(found->second.bytes == region.bytes);
    }
  }
  for (const auto& [place, block] : live) f.pool->deallocate(block, f.stream);
  CHECK(f.oracle.regions().empty());
  CHECK(f.oracle.counts().live_pieces == 0);  // nothing was mapped
  CHECK(f.pool->check() == "");
}

TEST_CASE("a region has the name that its block was asked for with") {
  Fixture f;
  const Block a = f.take(100, "weights"), b = f.take(100);
  std::string names;
  for (const miniinfer_fake_region& region : f.oracle.regions()) {
    names += std::string(region.name) + ";";
  }
  CHECK(names == "weights;;");
  f.pool->deallocate(a, f.stream);
  f.pool->deallocate(b, f.stream);
}

TEST_CASE("a pool that is not asked to announces nothing") {
  Fixture f(/*annotate=*/false);
  const Block block = f.take(100);
  CHECK(f.oracle.regions().empty());
  f.pool->deallocate(block, f.stream);
}

TEST_CASE("where nobody listens an announced pool is as any other") {
  PoolOptions options;
  options.annotate = true;
  const auto pool =
      make_announced_pool(std::make_shared<AllocatorUpstream>(std::make_shared<CPUAllocator>(),
                                                              MemoryKind::Device, nullptr),
                          "x:0", options, nullptr);
  pool->deallocate(pool->allocate({.bytes = 100}).value(), {});
  CHECK(pool->pool_stats().cached_bytes == 0);
  pool->deallocate(pool->allocate({.bytes = 100}).value(), {});
  CHECK(pool->pool_stats().cached_bytes > 0);
}

TEST_CASE("a region ends when all work that uses its block has") {
  Fixture f;
  const Stream other = f.oracle.make_stream();
  REQUIRE(f.pool->add_stream(other).ok());
  const Block block = f.take(100);
  CHECK(f.oracle.write(f.stream, block).ok());
  f.oracle.order(f.stream, other);
  CHECK(f.oracle.read(other, block).ok());
  f.pool->record_use(block, other);
  f.pool->deallocate(block, f.stream);
  CHECK(f.oracle.regions().empty());
  CHECK(f.oracle.counts().live_events == 0);
  f.oracle.sync(other);
  f.pool->remove_stream(other);
}

TEST_CASE("what comes back while its stream is recorded is a region as long as the graph") {
  Fixture f;
  const CaptureId capture = f.pool->begin_capture(f.stream).value();
  const Block a = f.take(100);
  f.pool->deallocate(a, f.stream);
  const Block b = f.take(100);
  CHECK(b.offset != a.offset);
  CHECK(f.oracle.regions().size() == 2);
  f.pool->deallocate(a, f.stream);  // a second time
  f.pool->end_capture(capture);
  f.pool->deallocate(b, f.stream);
  CHECK(f.oracle.regions().size() == 1);
  f.pool->release_capture(capture);
  CHECK(f.oracle.regions().empty());
  CHECK(f.pool->stats().allocated_bytes == 0);
}

TEST_CASE("a block that comes back twice is refused and takes no region away") {
  Fixture f;
  const Block a = f.take(100);
  f.pool->deallocate(a, f.stream);
  const Block b = f.take(100);
  f.pool->deallocate(a, f.stream);
  CHECK(f.pool->pool_stats().num_refused_frees == 1);
  CHECK(f.oracle.regions().size() == 1);
  f.pool->deallocate(b, f.stream);
}

}  // namespace miniinfer::testing
