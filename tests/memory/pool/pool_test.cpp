// What the pool promises, one promise at a time.

#include <doctest/doctest.h>

#include <latch>
#include <thread>

#include "core/memory/pool/make_pool.hpp"
#include "tests/memory/pool/fuzz.hpp"

namespace miniinfer::testing {
namespace {

constexpr std::uint64_t kKiB = 1024, kMiB = 1024 * kKiB;

struct Bench {
  explicit Bench(const OrderedDeviceOptions& device_options = {}, const PoolOptions& options = {},
                 std::uint64_t budget_bytes = Budget::kUnlimited)
      : device(std::make_shared<OrderedDevice>(device_options)),
        budget(std::make_shared<Budget>("the session", budget_bytes)),
        pool(make_pool(device, "test:0", options, budget)) {}
  ~Bench() {
    CHECK(device->violations() == "");
    if (pool != nullptr) CHECK(pool->check() == "");
    pool.reset();
    CHECK(device->violations() == "");
    CHECK(device->is_clean());
    CHECK(budget->used() == 0);
  }

  Stream stream() {
    const Stream made = device->create_stream();
    REQUIRE(pool->add_stream(made).ok());
    return made;
  }
  Block take(std::uint64_t bytes, Stream on, Lifetime lifetime = Lifetime::Transient) {
    const Result<Block> block =
        pool->allocate({.bytes = bytes, .lifetime = lifetime, .stream = on});
    REQUIRE_MESSAGE(block, block.status().to_string());
    if (on.handle != nullptr) device->touch(on, *block);
    return *block;
  }
  void books(std::uint64_t live, std::uint64_t bytes, std::uint64_t refused = 0) {
    std::string wrong;
    try {
      check_books(*pool, *device, *budget, live, bytes, refused);
    } catch (const std::exception& error) {
      wrong = error.what();
    }
    CHECK(wrong == "");
  }

  std::shared_ptr<OrderedDevice> device;
  std::shared_ptr<Budget> budget;
  std::shared_ptr<PoolAllocator> pool;
};

OrderedDeviceOptions sized(std::uint64_t total, std::uint64_t granularity = 64 * kKiB) {
  OrderedDeviceOptions options;
  options.total = total;
  options.granularity = granularity;
  return options;
}

PoolOptions uncached() {
  PoolOptions options;
  options.thread_cache_bytes = 0;
  return options;
}

std::uint64_t address(const Block& block) { return block.handle + block.offset; }

}  // namespace

TEST_CASE("a block given back on one stream after work on another comes to a third after both") {
  for (const bool with_neighbour : {false, true}) {
    CAPTURE(with_neighbour);
    Bench bench(sized(4 * kMiB), uncached());
    const Stream a = bench.stream(), b = bench.stream(), c = bench.stream();
    const Block first = bench.take(2 * kMiB, a);
    const Block second = bench.take(2 * kMiB, a);
    bench.device->order(a, b);
    bench.device->touch(b, first);
    bench.pool->record_use(first, b);
    if (with_neighbour) bench.pool->deallocate(second, a);
    bench.pool->deallocate(first, a);
    if (!with_neighbour) bench.pool->deallocate(second, a);
    const Block all = bench.take(4 * kMiB, c);
    bench.pool->deallocate(all, c);
  }
}

TEST_CASE("a stream that waited for another waits again for what that one did later") {
  OrderedDeviceOptions options = sized(4 * kMiB);
  options.done_percent = 0;
  Bench bench(options, uncached());
  const Stream a = bench.stream(), b = bench.stream();
  const Block first = bench.take(2 * kMiB, a), second = bench.take(2 * kMiB, a);
  bench.pool->deallocate(first, a);
  const Block third = bench.take(2 * kMiB, b);
  bench.device->touch(a, second);
  bench.pool->deallocate(second, a);
  const Block fourth = bench.take(2 * kMiB, b);
  CHECK(bench.pool->pool_stats().num_sync_all_streams == 0);
  bench.pool->deallocate(third, b);
  bench.pool->deallocate(fourth, b);
}

TEST_CASE("a block that several streams use comes back with the last of them") {
  OrderedDeviceOptions options = sized(4 * kMiB);
  options.done_percent = 0;
  Bench bench(options, uncached());
  const Stream a = bench.stream(), b = bench.stream(), c = bench.stream(), d = bench.stream();
  const Block block = bench.take(4 * kMiB, a);
  for (const Stream other : {b, c}) {
    bench.device->order(other.handle == b.handle ? a : b, other);
    bench.device->touch(other, block);
    bench.pool->record_use(block, other);
  }
  bench.pool->deallocate(block, a);
  bench.device->finish(b);
  bench.pool->synced(b);
  const Block next = bench.take(4 * kMiB, d);
  bench.pool->deallocate(next, d);
}

TEST_CASE("a request is served that fits what the pool holds once streams are done") {
  for (const std::uint64_t granularity : {64 * kKiB, std::uint64_t{0}}) {
    CAPTURE(granularity);
    OrderedDeviceOptions options = sized(8 * kMiB, granularity);
    options.done_percent = 0;  // only who waits learns anything
    Bench bench(options);
    const Stream a = bench.stream(), b = bench.stream(), c = bench.stream();
    std::vector<Block> blocks;
    for (int i = 0; i < 4; ++i) blocks.push_back(bench.take(kMiB, i % 2 == 0 ? a : b));
    for (int i = 0; i < 4; ++i) bench.pool->deallocate(blocks[i], i % 2 == 0 ? a : b);
    const Block most = bench.take(6 * kMiB, c);
    bench.pool->deallocate(most, c);
    bench.books(0, 0);
  }
}

TEST_CASE("a stream has its own blocks back at once, and asks the driver for nothing") {
  for (const std::uint64_t cache : {std::uint64_t{0}, 8 * kMiB}) {
    PoolOptions options;
    options.thread_cache_bytes = cache;
    Bench bench({}, options);
    const Stream a = bench.stream();
    for (int i = 0; i < 3; ++i) bench.pool->deallocate(bench.take(kMiB, a), a);
    const std::uint64_t calls = bench.device->calls();
    const std::uint64_t driver_calls = bench.pool->pool_stats().num_driver_calls;
    const Block first = bench.take(kMiB, a);
    bench.pool->deallocate(first, a);
    for (int i = 0; i < 1000; ++i) {
      const Block again = bench.take(kMiB, a);
      CHECK(address(again) == address(first));
      bench.pool->deallocate(again, a);
    }
    CHECK(bench.device->calls() == calls);
    CHECK(bench.pool->pool_stats().num_driver_calls == driver_calls);
  }
}

TEST_CASE("where there is memory a stream takes new rather than wait for another") {
  Bench bench({}, uncached());
  const Stream a = bench.stream(), b = bench.stream();
  const Block first = bench.take(kMiB, a);
  bench.pool->deallocate(first, a);
  const Block second = bench.take(kMiB, b);
  CHECK(address(first) != address(second));
  bench.pool->deallocate(second, b);
  bench.device->finish(a);
  bench.pool->synced(a);
  // Now it is anyone's.
  const Block third = bench.take(kMiB, b), fourth = bench.take(kMiB, b);
  CHECK((address(third) == address(first) || address(fourth) == address(first)));
  bench.pool->deallocate(third, b);
  bench.pool->deallocate(fourth, b);
}

TEST_CASE("bad requests are refused and leave no trace") {
  Bench bench(sized(64 * kMiB), {}, 32 * kMiB);
  const Stream a = bench.stream();
  const auto code = [&](MemoryRequest request) {
    return bench.pool->allocate(request).status().code();
  };
  const Result<Block> nothing = bench.pool->allocate({.bytes = 0, .stream = a});
  REQUIRE(nothing);
  CHECK(nothing->handle == 0);
  bench.pool->deallocate(*nothing, a);
  for (const std::uint64_t alignment : {0ull, 3ull, 96ull, ~0ull}) {
    CHECK(code({.bytes = 16, .alignment = alignment}) == Code::InvalidArgument);
    CHECK(code({.bytes = 0, .alignment = alignment}) == Code::InvalidArgument);
  }
  CHECK(code({.bytes = 16, .kind = MemoryKind::Pinned}) == Code::InvalidArgument);
  CHECK(code({.bytes = 16, .lifetime = static_cast<Lifetime>(9)}) == Code::InvalidArgument);
  CHECK(code({.bytes = 16, .stream = {&bench}}) == Code::InvalidArgument);
  for (const std::uint64_t bytes : {~0ull, ~0ull - 511, 1ull << 63, (1ull << 62) + 1}) {
    CHECK(code({.bytes = bytes}) == Code::OutOfMemory);
  }
  CHECK(code({.bytes = 16, .alignment = 1ull << 63}) == Code::OutOfMemory);
  const Status limit = bench.pool->allocate({.bytes = 33 * kMiB, .stream = a}).status();
  CHECK(limit.code() == Code::LimitExceeded);
  CHECK(std::string(limit.message()).find("the session") != std::string::npos);
  CHECK(bench.pool->pool_stats().num_ooms == 17);
  bench.books(0, 0);
}

TEST_CASE("an alignment of a terabyte is honoured or refused") {
  Bench bench(sized(64 * kMiB));
  const Result<Block> block =
      bench.pool->allocate({.bytes = 16, .alignment = std::uint64_t{1} << 40});
  if (!block) return;
  CHECK(address(*block) % (std::uint64_t{1} << 40) == 0);
  bench.pool->deallocate(*block, {});
}

TEST_CASE("frees of what is not the pool's to take are refused, and harm nothing") {
  Bench bench, other;
  const Stream a = bench.stream();
  const Block block = bench.take(kMiB, a);
  const Block kept = bench.take(kMiB, a);
  const Block theirs = other.take(kMiB, {});
  bench.pool->deallocate(theirs, {});
  bench.books(2, 2 * kMiB, 1);
  Block damaged = block;
  damaged.offset += 512;
  bench.pool->deallocate(damaged, a);
  bench.pool->deallocate({.handle = 1, .token = ~std::uint64_t{0}}, a);
  bench.books(2, 2 * kMiB, 3);
  // On a stream that is none it stays in use.
  bench.pool->deallocate(kept, {&bench});
  bench.books(2, 2 * kMiB, 4);
  bench.pool->deallocate(block, a);
  bench.pool->deallocate(block, a);
  bench.books(1, kMiB, 5);
  bench.pool->deallocate(kept, a);
  bench.pool->trim(0);
  bench.pool->deallocate(kept, a);
  bench.books(0, 0, 6);
  other.pool->deallocate(theirs, {});
}

TEST_CASE("a pool that ends gives back what is still in use, and waits for work in flight") {
  for (const std::uint64_t granularity : {64 * kKiB, std::uint64_t{0}}) {
    Bench bench(sized(64 * kMiB, granularity));
    const Stream a = bench.stream();
    static_cast<void>(bench.take(kMiB, {}));
    for (int i = 0; i < 4; ++i) bench.pool->deallocate(bench.take(kMiB, a), a);
  }
}

TEST_CASE("threads may end before the pool and after it") {
  std::thread after;
  std::latch filled(1), gone(1);
  {
    Bench bench(sized(64 * kMiB));
    const auto pool = bench.pool;
    std::thread([&] {
      for (int i = 0; i < 10; ++i) {
        const Block block = *pool->allocate({.bytes = kMiB});
        pool->deallocate(block, {});
      }
      CHECK(pool->pool_stats().cached_bytes > 0);
    }).join();
    CHECK(pool->pool_stats().cached_bytes == 0);
    bench.books(0, 0);
    after = std::thread([&, pool = pool.get()] {
      for (int i = 0; i < 10; ++i) {
        const Block block = *pool->allocate({.bytes = kMiB});
        pool->deallocate(block, {});
      }
      filled.count_down();
      gone.wait();
    });
    filled.wait();
    CHECK(bench.pool->pool_stats().cached_bytes > 0);
    CHECK(bench.pool->trim(0) > 0);
    CHECK(bench.pool->pool_stats().cached_bytes == 0);
    CHECK(bench.device->used() == 0);
  }
  gone.count_down();
  after.join();
}

TEST_CASE("what a thread keeps is given to another that would have none") {
  Bench bench(sized(8 * kMiB));
  bench.pool->deallocate(bench.take(kMiB, {}), {});
  bench.pool->deallocate(bench.take(6 * kMiB, {}), {});
  bench.pool->deallocate(bench.take(6 * kMiB, {}), {});
  CHECK(bench.pool->pool_stats().cached_bytes > 0);
  std::thread([&] {
    const Result<Block> block = bench.pool->allocate({.bytes = 8 * kMiB});
    REQUIRE_MESSAGE(block, block.status().to_string());
    bench.pool->deallocate(*block, {});
  }).join();
}

TEST_CASE("a thread keeps no more than 256 blocks of one size") {
  Bench bench;
  const Stream a = bench.stream();
  std::vector<Block> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(bench.take(512, a));
  for (const Block& block : blocks) {
    bench.pool->deallocate(block, a);
    REQUIRE(bench.pool->pool_stats().cached_bytes <= 256 * 512);
  }
  CHECK(bench.pool->pool_stats().cached_bytes > 0);
}

TEST_CASE("a thread keeps no more than it may") {
  PoolOptions options;
  options.thread_cache_bytes = 256 * kKiB;
  Bench bench({}, options);
  const Stream a = bench.stream();
  std::vector<Block> blocks;
  for (int i = 0; i < 2000; ++i) blocks.push_back(bench.take(512 * (1 + i % 9), a));
  for (const Block& block : blocks) {
    bench.pool->deallocate(block, a);
    REQUIRE(bench.pool->pool_stats().cached_bytes <= options.thread_cache_bytes);
  }
  CHECK(bench.pool->pool_stats().cached_bytes > 0);
  bench.books(0, 0);
}

TEST_CASE("what is given back during a capture is the graph's until it goes") {
  for (const std::uint64_t cache : {std::uint64_t{0}, 8 * kMiB}) {
    PoolOptions options;
    options.thread_cache_bytes = cache;
    Bench bench(sized(64 * kMiB), options);
    const Stream a = bench.stream(), b = bench.stream();
    for (int i = 0; i < 3; ++i) bench.pool->deallocate(bench.take(kMiB, a), a);
    std::vector<Block> graph;
    const CaptureId capture = bench.pool->begin_capture(a).value();
    CHECK(!bench.pool->begin_capture(a));
    bench.device->begin_capture(a, &graph);
    const Block first = bench.take(kMiB, a);
    bench.pool->deallocate(first, a);
    const Block second = bench.take(kMiB, a);
    CHECK(address(second) == address(first));  // the graph does one after the other
    bench.pool->deallocate(second, a);
    const Block weight = bench.take(kMiB, a, Lifetime::Weights);
    CHECK(address(weight) != address(first));  // that lives elsewhere
    bench.device->end_capture(a);
    bench.pool->end_capture(capture);
    for (int run = 0; run < 2; ++run) {
      for (const Block& block : graph) bench.device->touch(a, block);
      const Block other = bench.take(kMiB, b), own = bench.take(kMiB, a);
      CHECK(address(other) != address(first));
      CHECK(address(own) != address(first));
      bench.pool->deallocate(other, b);
      bench.pool->deallocate(own, a);
    }
    bench.pool->release_capture(capture);
    bench.pool->release_capture(capture);
    bench.pool->deallocate(weight, a);
    bench.device->finish(a);
    bench.device->finish(b);
    bench.pool->remove_stream(a);
    bench.pool->remove_stream(b);
    bench.pool->trim(0);
    CHECK(bench.device->used() == 0);
  }
}

TEST_CASE("a stream that goes leaves its blocks to all, whatever is known of its graphs") {
  Bench bench(sized(64 * kMiB));
  const Stream a = bench.stream(), b = bench.stream();
  std::vector<Block> graph;
  const Block used = bench.take(kMiB, b);
  bench.device->order(b, a);
  bench.device->touch(a, used);
  bench.pool->record_use(used, a);
  const CaptureId capture = bench.pool->begin_capture(a).value();
  bench.device->begin_capture(a, &graph);
  bench.pool->deallocate(bench.take(kMiB, a), a);
  bench.device->end_capture(a);
  bench.device->finish(a);
  bench.pool->remove_stream(a);
  bench.device->destroy_stream(a);
  const Stream c = bench.stream();
  bench.pool->release_capture(capture);
  bench.pool->deallocate(used, b);
  bench.device->finish(b);
  bench.pool->synced(b);
  bench.pool->trim(0);
  CHECK(bench.device->used() == 0);
  bench.pool->deallocate(bench.take(kMiB, c), c);
}

TEST_CASE("blocks that several streams used come back without anyone waiting") {
  OrderedDeviceOptions options = sized(512 * kMiB);
  options.done_percent = 100;
  Bench bench(options);
  const Stream a = bench.stream(), b = bench.stream();
  for (int i = 0; i < 100; ++i) {
    const Block block = bench.take(kMiB, a);
    bench.device->order(a, b);
    bench.device->touch(b, block);
    bench.pool->record_use(block, b);
    bench.pool->deallocate(block, a);
  }
  const PoolStats stats = bench.pool->pool_stats();
  CHECK(stats.num_sync_all_streams == 0);
  CHECK(stats.reserved_bytes.peak <= 8 * kMiB);
}

TEST_CASE("trim keeps what is asked for and what is in use, and no more") {
  for (const std::uint64_t granularity : {64 * kKiB, std::uint64_t{0}}) {
    CAPTURE(granularity);
    Bench bench(sized(256 * kMiB, granularity));
    std::vector<Block> blocks;
    for (int i = 0; i < 40; ++i) blocks.push_back(bench.take(kMiB, {}));
    for (int i = 10; i < 40; ++i) bench.pool->deallocate(blocks[i], {});
    const std::uint64_t before = bench.device->used();
    const std::uint64_t given = bench.pool->trim(30 * kMiB);
    CHECK(bench.device->used() == before - given);
    CHECK(bench.device->used() <= 30 * kMiB);
    CHECK(bench.device->used() >= 20 * kMiB);
    CHECK(bench.pool->trim(30 * kMiB) == 0);
    bench.pool->trim(0);
    CHECK(bench.device->used() >= 10 * kMiB);
    CHECK(bench.device->used() <= 12 * kMiB);
    bench.books(10, 10 * kMiB);
    for (int i = 0; i < 10; ++i) bench.pool->deallocate(blocks[i], {});
  }
}

TEST_CASE("a limit that is lowered gives back what it can and refuses more") {
  Bench bench(sized(256 * kMiB));
  std::vector<Block> blocks;
  for (int i = 0; i < 40; ++i) blocks.push_back(bench.take(kMiB, {}));
  for (int i = 0; i < 20; ++i) bench.pool->deallocate(blocks[i], {});
  bench.pool->set_limit(10 * kMiB);
  CHECK(bench.device->used() == 20 * kMiB);
  const Status refused = bench.pool->allocate({.bytes = kMiB}).status();
  CHECK(refused.code() == Code::LimitExceeded);
  bench.books(20, 20 * kMiB);
  for (int i = 20; i < 40; ++i) bench.pool->deallocate(blocks[i], {});
  bench.pool->deallocate(bench.take(9 * kMiB, {}), {});
  bench.pool->trim(0);
  bench.pool->deallocate(bench.take(9 * kMiB, {}), {});
  CHECK(bench.device->used() <= 10 * kMiB);
  bench.pool->set_limit(~std::uint64_t{0});
  bench.pool->deallocate(bench.take(200 * kMiB, {}), {});
}

TEST_CASE("hooks are asked for memory before streams are waited for, and may use the pool") {
  Bench bench(sized(8 * kMiB)), other(sized(8 * kMiB));
  const Stream a = bench.stream();
  std::optional<Block> spare = bench.take(6 * kMiB, {});
  std::uint64_t asked = 0;
  const std::uint64_t hook = bench.pool->add_release_hook([&](std::uint64_t bytes) {
    asked = bytes;
    if (spare) bench.pool->deallocate(*spare, {});
    spare.reset();
    bench.pool->deallocate(bench.take(kMiB, {}), {});
    other.pool->trim(0);
  });
  const Block block = bench.take(4 * kMiB, a);
  CHECK(asked == 4 * kMiB);
  CHECK(bench.pool->pool_stats().num_sync_all_streams == 0);
  bench.pool->remove_release_hook(hook);
  asked = 0;
  CHECK(!bench.pool->allocate({.bytes = 16 * kMiB}));
  CHECK(asked == 0);
  bench.pool->deallocate(block, a);
}

TEST_CASE("moved memory makes room where pieces are free and no place is") {
  // A third is free in stretches that are too short.
  Bench bench(sized(48 * kMiB), uncached());
  std::vector<Block> blocks;
  for (int i = 0; i < 48; ++i) blocks.push_back(bench.take(kMiB, {}));
  for (int i = 0; i < 48; i += 3) bench.pool->deallocate(blocks[i], {});
  const Block large = bench.take(16 * kMiB, {});
  CHECK(bench.pool->pool_stats().num_moves > 0);
  bench.books(33, 48 * kMiB);
  bench.pool->deallocate(large, {});
}

TEST_CASE("statistics count what happened") {
  Bench bench({}, uncached());
  const Stream a = bench.stream();
  const Block first = bench.take(1000, a), second = bench.take(2000, a);
  PoolStats stats = bench.pool->pool_stats();
  CHECK(stats.allocation.current == 2);
  CHECK(stats.requested_bytes.current == 3000);
  CHECK(stats.allocated_bytes.current == 1024 + 2048);
  CHECK(stats.allocated_bytes.peak == 1024 + 2048);
  CHECK(stats.reserved_bytes.current == bench.device->used());
  bench.pool->deallocate(first, a);
  bench.pool->deallocate(second, a);
  stats = bench.pool->pool_stats();
  CHECK(stats.allocation.allocated == 2);
  CHECK(stats.allocation.freed == 2);
  CHECK(stats.allocated_bytes.current == 0);
  CHECK(stats.allocated_bytes.peak == 1024 + 2048);
  const MemoryStats plain = bench.pool->stats();
  CHECK(plain.allocations == 2);
  CHECK(plain.frees == 2);
  CHECK(plain.allocated_bytes == 0);
}

TEST_CASE("a device without addresses or streams is served as well") {
  OrderedDeviceOptions options = sized(64 * kMiB, 0);
  options.flat_address = false;
  options.ordered = false;
  Bench bench(options);
  // Streams mean nothing to it.
  int some = 0;
  const Stream any{&some};
  CHECK(bench.pool->add_stream(any).ok());
  for (int i = 0; i < 10; ++i) {
    const Block block = *bench.pool->allocate({.bytes = kMiB, .alignment = 4096, .stream = any});
    CHECK(block.offset % 4096 == 0);
    bench.pool->deallocate(block, i % 2 == 0 ? any : Stream{});
  }
  bench.pool->remove_stream(any);
  CHECK(!bench.pool->begin_capture(any));
  CHECK(bench.pool->pool_stats().num_driver_calls < 5);
  bench.books(0, 0);
}

TEST_CASE("whichever call of the device fails, once or from then on, nothing is lost") {
  for (const std::uint64_t granularity : {64 * kKiB, std::uint64_t{0}}) {
    for (const bool from_then_on : {false, true}) {
      for (std::uint64_t k = 1; k < 120; ++k) {
        CAPTURE(granularity);
        CAPTURE(from_then_on);
        CAPTURE(k);
        Bench bench(sized(24 * kMiB, granularity));
        const Stream a = bench.stream(), b = bench.stream();
        bench.device->fail_at(k, from_then_on);
        std::vector<std::pair<Block, Stream>> blocks;
        std::uint64_t bytes = 0;
        const auto step = [&](std::uint64_t size, Stream on) {
          const Result<Block> block = bench.pool->allocate({.bytes = size, .stream = on});
          if (!block) return;
          bench.device->touch(on, *block);
          blocks.emplace_back(*block, on);
          bytes += size;
        };
        const auto give_all = [&] {
          for (const auto& [block, on] : blocks) bench.pool->deallocate(block, on);
          blocks.clear();
          bytes = 0;
        };
        for (int i = 0; i < 12; ++i) step(kMiB + i, a);
        for (std::size_t i = 0; i < blocks.size(); i += 2) {
          bench.pool->deallocate(blocks[i].first, blocks[i].second);
          bytes -= blocks[i].first.bytes;
        }
        for (std::size_t i = 0; i < blocks.size(); ++i) {
          blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(i));
        }
        step(5 * kMiB, b);
        step(9 * kMiB, b);
        bench.books(blocks.size(), bytes);
        give_all();
        step(20 * kMiB, a);
        bench.books(blocks.size(), bytes);
        give_all();
        bench.pool->trim(kMiB);
        bench.books(0, 0);
        bench.device->heal();
        step(8 * kMiB, b);
        CHECK(blocks.size() == 1);
        give_all();
      }
    }
  }
}

}  // namespace miniinfer::testing
