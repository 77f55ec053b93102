#include <doctest/doctest.h>

#include <thread>
#include <vector>

#include "core/memory/cpu_allocator.hpp"
#include "core/memory/fault_allocator.hpp"
#include "core/memory/memory_counter.hpp"
#include "miniinfer/storage.hpp"

namespace miniinfer {
namespace {

AllocatorPtr cpu() { return std::make_shared<CPUAllocator>(); }

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

TEST_CASE("a limit is reached exactly and says asked, used and allowed") {
  const AllocatorPtr allocator = limit_allocator(cpu(), 4096, "session 'a'");
  const Block block = allocator->allocate({.bytes = 3072}).value();
  const Result<Block> refused = allocator->allocate({.bytes = 1025, .tag = "arena"});
  CHECK(refused.status().code() == Code::LimitExceeded);
  CHECK(refused.status().message() ==
        "allocation of 1.0 KiB for arena on session 'a' refused, 3.0 KiB of the 4.0 KiB allowed in "
        "use");
  const Block rest = allocator->allocate({.bytes = 1024}).value();
  CHECK(allocator->info().free_bytes == 0);
  CHECK(allocator->info().total_bytes == 4096);
  CHECK_FALSE(allocator->allocate({.bytes = 1}).ok());
  allocator->deallocate(rest, {});
  CHECK(allocator->info().free_bytes == 1024);
  allocator->deallocate(block, {});
  CHECK(allocator->stats().failures == 2);
}

TEST_CASE("a request of 2^64-1 bytes does not wrap a limit around") {
  const AllocatorPtr allocator = limit_allocator(cpu(), 4096, "test");
  const Block block = allocator->allocate({.bytes = 64}).value();
  CHECK(allocator->allocate({.bytes = ~0ull}).status().code() == Code::LimitExceeded);
  CHECK(allocator->allocate({.bytes = ~0ull - 63}).status().code() == Code::LimitExceeded);
  allocator->deallocate(block, {});
}

TEST_CASE("what the upstream refuses does not count against a limit") {
  const auto fault = std::make_shared<FaultAllocator>(cpu());
  const AllocatorPtr allocator = limit_allocator(fault, 4096, "test");
  fault->fail_at(1);
  CHECK(allocator->allocate({.bytes = 4096}).status().code() == Code::OutOfMemory);
  Result<Block> block = allocator->allocate({.bytes = 4096});
  REQUIRE(block);
  allocator->deallocate(*block, {});
}

TEST_CASE("threads that fit together are never refused by a limit") {
  constexpr int kThreads = 4;
  const AllocatorPtr allocator = limit_allocator(cpu(), kThreads * 256, "test");
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        const Result<Block> block = allocator->allocate({.bytes = 256});
        if (block) allocator->deallocate(*block, {});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(allocator->stats().failures == 0);
  CHECK(allocator->stats().peak_allocated_bytes <= kThreads * 256);
}

TEST_CASE("two trackers over one allocator are told apart") {
  const AllocatorPtr shared = cpu();
  const AllocatorPtr a = tracking_allocator(shared);
  const AllocatorPtr b = tracking_allocator(shared);
  const Block x = a->allocate({.bytes = 10}).value();
  const Block y = b->allocate({.bytes = 20}).value();
  CHECK(a->stats().allocated_bytes == 10);
  CHECK(b->stats().allocated_bytes == 20);
  CHECK(shared->stats().allocated_bytes == 30);
  a->deallocate(x, {});
  b->deallocate(y, {});
  CHECK(a->stats().peak_allocated_bytes == 10);
  CHECK(shared->stats().allocated_bytes == 0);
}

TEST_CASE("a fault allocator fails the request it was told to, once or from then on") {
  FaultAllocator allocator(cpu());
  const auto outcome = [&] {
    const Result<Block> block = allocator.allocate({.bytes = 8});
    if (block) allocator.deallocate(*block, {});
    return block.ok();
  };
  allocator.fail_at(2);
  CHECK(outcome());
  CHECK_FALSE(outcome());
  CHECK(outcome());
  CHECK(allocator.requests() == 3);
  allocator.fail_at(2, FaultAllocator::Mode::FromThenOn);
  CHECK(outcome());
  CHECK_FALSE(outcome());
  CHECK_FALSE(outcome());
  allocator.fail_at(0);
  CHECK(outcome());
  CHECK(allocator.stats().failures == 3);
}

TEST_CASE("a storage that got no memory says so and holds none") {
  const auto fault = std::make_shared<FaultAllocator>(cpu());
  fault->fail_at(1);
  const Result<Storage> storage = Storage::create(fault, {.bytes = 8});
  CHECK(storage.status().code() == Code::OutOfMemory);
  CHECK(fault->stats().allocations == 0);
  CHECK(fault->stats().frees == 0);
  CHECK(Storage::create(nullptr, {.bytes = 8}).status().code() == Code::InvalidArgument);
}

TEST_CASE("a storage keeps its allocator alive") {
  AllocatorPtr allocator = cpu();
  const std::weak_ptr<Allocator> watch = allocator;
  {
    const Storage storage = Storage::create(std::move(allocator), {.bytes = 8}).value();
    CHECK_FALSE(watch.expired());
  }
  CHECK(watch.expired());
}

TEST_CASE("a storage gives memory back on the stream it was last used on") {
  struct Recorder : Allocator {
    Stream last;
    Result<Block> allocate(const MemoryRequest& request) noexcept override {
      return Block{1, 0, request.bytes, nullptr};
    }
    void deallocate(Block, Stream stream) noexcept override { last = stream; }
    MemoryStats stats() const noexcept override { return {}; }
  };
  const auto recorder = std::make_shared<Recorder>();
  int a = 0, b = 0;
  {
    const Storage s = Storage::create(recorder, {.bytes = 8, .stream = {&a}}).value();
  }
  CHECK(recorder->last.handle == &a);
  Storage storage = Storage::create(recorder, {.bytes = 8, .stream = {&a}}).value();
  storage.reset({&b});
  CHECK(recorder->last.handle == &b);
}

TEST_CASE("the peak is the most that was held at once, also when threads race") {
  // Every thread holds 1 byte at its fullest moment together with all others: the barrier makes the
  // true peak known.
  constexpr int kThreads = 4;
  MemoryCounter counter;
  std::atomic<int> arrived{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      counter.add(1);
      arrived.fetch_add(1);
      while (arrived.load() < kThreads) std::this_thread::yield();
      counter.subtract(1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(counter.read().peak_allocated_bytes == kThreads);
  CHECK(counter.read().allocated_bytes == 0);
}

TEST_CASE("an out-of-memory text of the host names device, size and what is free") {
  const Result<Block> block = cpu()->allocate({.bytes = std::uint64_t{1} << 52});
  CHECK(contains(block.status().message(), "allocation of 4.0 PiB on cpu:0 failed, "));
  CHECK(contains(block.status().message(), " free"));
}

}  // namespace miniinfer
