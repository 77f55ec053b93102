// One contract, every allocator.

#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "core/memory/cpu_allocator.hpp"
#include "core/memory/fault_allocator.hpp"
#include "miniinfer/allocator.hpp"
#include "miniinfer/storage.hpp"

namespace miniinfer {
namespace {

AllocatorPtr cpu() { return std::make_shared<CPUAllocator>(); }

struct Subject {
  const char* name;
  std::function<AllocatorPtr()> make;
};

const Subject kSubjects[] = {
    {"cpu", cpu},
    {"limit over cpu", [] { return limit_allocator(cpu(), std::uint64_t{1} << 40, "test"); }},
    {"tracking over cpu", [] { return tracking_allocator(cpu()); }},
    {"fault over cpu", []() -> AllocatorPtr { return std::make_shared<FaultAllocator>(cpu()); }},
    {"tracking over limit over fault over cpu",
     [] {
       return tracking_allocator(limit_allocator(std::make_shared<FaultAllocator>(cpu()),
                                                 std::uint64_t{1} << 40, "test"));
     }},
    {"the factory's for cpu:0", [] { return AllocatorFactory::get("cpu:0").value(); }},
};

template <class Check>
void for_each_allocator(Check check) {
  for (const Subject& subject : kSubjects) {
    CAPTURE(subject.name);
    check(subject.make());
  }
}

std::uint64_t address(const Block& block) { return block.handle + block.offset; }

}  // namespace

TEST_CASE("every power of two is honoured as an alignment") {
  for_each_allocator([](const AllocatorPtr& allocator) {
    for (std::uint64_t alignment = 1; alignment <= std::uint64_t{1} << 21; alignment *= 2) {
      CAPTURE(alignment);
      for (const std::uint64_t bytes : {1u, 63u, 64u, 4097u}) {
        Result<Block> block = allocator->allocate({.bytes = bytes, .alignment = alignment});
        REQUIRE(block);
        CHECK(address(*block) % alignment == 0);
        CHECK(block->bytes == bytes);
        REQUIRE(block->host != nullptr);
        std::memset(block->host, 0xa5, bytes);
        allocator->deallocate(*block, {});
      }
    }
  });
}

TEST_CASE("an alignment that is no power of two is refused, zero too") {
  for_each_allocator([](const AllocatorPtr& allocator) {
    const MemoryStats before = allocator->stats();
    for (const std::uint64_t alignment : {0ull, 3ull, 96ull, ~0ull}) {
      for (const std::uint64_t bytes : {0u, 16u}) {
        const Result<Block> block = allocator->allocate({.bytes = bytes, .alignment = alignment});
        CHECK(block.status().code() == Code::InvalidArgument);
      }
    }
    CHECK(allocator->stats().failures == before.failures + 8);
    CHECK(allocator->stats().allocated_bytes == before.allocated_bytes);
  });
}

TEST_CASE("a kind the allocator does not have is refused") {
  for_each_allocator([](const AllocatorPtr& allocator) {
    const Result<Block> block = allocator->allocate({.bytes = 16, .kind = MemoryKind::Pinned});
    CHECK(block.status().code() == Code::InvalidArgument);
    CHECK(block.status().message().find("pinned") != std::string_view::npos);
  });
}

TEST_CASE("a request for nothing is valid and gives no memory") {
  for_each_allocator([](const AllocatorPtr& allocator) {
    const MemoryStats before = allocator->stats();
    const Result<Block> block = allocator->allocate({.bytes = 0});
    REQUIRE(block);
    CHECK(block->handle == 0);
    CHECK(block->bytes == 0);
    CHECK(block->host == nullptr);
    allocator->deallocate(*block, {});
    const MemoryStats after = allocator->stats();
    CHECK(after.allocations == before.allocations);
    CHECK(after.frees == before.frees);
    CHECK(after.allocated_bytes == before.allocated_bytes);
  });
}

TEST_CASE("a request that cannot fit fails with what was asked for and what is free") {
  for_each_allocator([](const AllocatorPtr& allocator) {
    for (const std::uint64_t bytes : {~0ull, ~0ull - 63, 1ull << 63, 1ull << 52}) {
      CAPTURE(bytes);
      const Result<Block> block = allocator->allocate({.bytes = bytes, .tag = "weights"});
      REQUIRE_FALSE(block);
      const Code code = block.status().code();
      CHECK((code == Code::OutOfMemory || code == Code::LimitExceeded));
      CHECK(block.status().message().find("weights") != std::string_view::npos);
      CHECK(block.status().message().find("iB") != std::string_view::npos);
    }
    const Result<Block> block =
        allocator->allocate({.bytes = 1, .alignment = std::uint64_t{1} << 63});
    CHECK(block.status().code() == Code::OutOfMemory);
  });
}

TEST_CASE("statistics are exact") {
  for_each_allocator([](const AllocatorPtr& allocator) {
    const MemoryStats before = allocator->stats();
    const Block a = allocator->allocate({.bytes = 1000}).value();
    const Block b = allocator->allocate({.bytes = 24}).value();
    CHECK(allocator->stats().allocated_bytes == before.allocated_bytes + 1024);
    allocator->deallocate(a, {});
    const MemoryStats after = allocator->stats();
    CHECK(after.allocated_bytes == before.allocated_bytes + 24);
    CHECK(after.peak_allocated_bytes >= before.allocated_bytes + 1024);
    CHECK(after.allocations == before.allocations + 2);
    CHECK(after.frees == before.frees + 1);
    CHECK(after.failures == before.failures);
    allocator->deallocate(b, {});
    CHECK(allocator->stats().allocated_bytes == before.allocated_bytes);
  });
}

TEST_CASE("blocks that threads hold at one time do not overlap, and the counts add up") {
  for_each_allocator([](const AllocatorPtr& allocator) {
    constexpr int kThreads = 4;
    constexpr int kRounds = 300;
    const MemoryStats before = allocator->stats();
    std::vector<std::thread> threads;
    std::vector<int> damaged(kThreads, 0);
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        std::vector<Block> held;
        for (int i = 0; i < kRounds; ++i) {
          const std::uint64_t bytes = 1 + static_cast<std::uint64_t>((i * 37 + t * 11) % 700);
          const Block block = *allocator->allocate({.bytes = bytes});
          std::memset(block.host, t + 1, bytes);
          held.push_back(block);
          if (held.size() < 8) continue;
          for (const Block& old : held) {
            for (std::uint64_t k = 0; k < old.bytes; ++k) {
              damaged[t] += old.host[k] != static_cast<std::byte>(t + 1);
            }
            allocator->deallocate(old, {});
          }
          held.clear();
        }
        for (const Block& old : held) allocator->deallocate(old, {});
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const int count : damaged) CHECK(count == 0);
    const MemoryStats after = allocator->stats();
    CHECK(after.allocated_bytes == before.allocated_bytes);
    CHECK(after.allocations == before.allocations + kThreads * kRounds);
    CHECK(after.frees == before.frees + kThreads * kRounds);
  });
}

TEST_CASE("memory behind an allocator has a total, and no more free than that") {
  for_each_allocator([](const AllocatorPtr& allocator) {
    const MemoryInfo info = allocator->info();
    CHECK(info.total_bytes > 0);
    CHECK(info.free_bytes <= info.total_bytes);
    CHECK(info.free_bytes > 0);
  });
}

TEST_CASE("a storage gives its memory back once, wherever it was moved") {
  for_each_allocator([](const AllocatorPtr& allocator) {
    const MemoryStats before = allocator->stats();
    {
      Storage a = Storage::create(allocator, {.bytes = 100}).value();
      Storage b = std::move(a);
      CHECK(a.bytes() == 0);
      CHECK(a.host() == nullptr);
      Storage c = Storage::create(allocator, {.bytes = 50}).value();
      c = std::move(b);
      CHECK(allocator->stats().frees == before.frees + 1);
      CHECK(c.bytes() == 100);
      c.reset();
      c.reset();
      CHECK(allocator->stats().frees == before.frees + 2);
    }
    CHECK(allocator->stats().frees == before.frees + 2);
    CHECK(allocator->stats().allocated_bytes == before.allocated_bytes);
  });
}

}  // namespace miniinfer
