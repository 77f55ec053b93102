// One contract, every allocator.

#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "miniinfer/storage.hpp"
#include "tests/memory/subjects.hpp"
#include "tests/support/stream_scenarios.hpp"

namespace miniinfer::testing {
namespace {

// Blocks that are held at one time, by place. [any-thread]
class HeldBlocks {
 public:
  // False where a part of it is held already.
  bool add(const Block& block) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t begin = block.handle + block.offset;
    const auto after = held_.lower_bound(begin);
    const bool over_next = after != held_.end() && after->first < begin + block.bytes;
    const bool over_last = after != held_.begin() && std::prev(after)->second > begin;
    held_[begin] = begin + block.bytes;
    return !over_next && !over_last;
  }
  void remove(const Block& block) {
    const std::lock_guard lock(mutex_);
    held_.erase(block.handle + block.offset);
  }

 private:
  std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> held_;
};

}  // namespace

TEST_CASE("every power of two is honoured as an alignment") {
  for_each_subject([](const Subject& subject) {
    const AllocatorPtr& allocator = subject.allocator;
    for (std::uint64_t alignment = 1; alignment <= std::uint64_t{1} << 21; alignment *= 2) {
      CAPTURE(alignment);
      for (const std::uint64_t bytes : {1u, 63u, 64u, 4097u}) {
        Result<Block> block = allocator->allocate({.bytes = bytes, .alignment = alignment});
        REQUIRE(block);
        CHECK(subject.place(*block) % alignment == 0);
        CHECK(block->bytes == bytes);
        if (block->host != nullptr) std::memset(block->host, 0xa5, bytes);
        allocator->deallocate(*block, {});
      }
    }
  });
}

TEST_CASE("an alignment that is no power of two is refused, zero too") {
  for_each_subject([](const Subject& subject) {
    const AllocatorPtr& allocator = subject.allocator;
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
  for_each_subject([](const Subject& subject) {
    const AllocatorPtr& allocator = subject.allocator;
    const Result<Block> block = allocator->allocate({.bytes = 16, .kind = MemoryKind::Pinned});
    CHECK(block.status().code() == Code::InvalidArgument);
    CHECK(block.status().message().find("pinned") != std::string_view::npos);
  });
}

TEST_CASE("a request for nothing is valid and gives no memory") {
  for_each_subject([](const Subject& subject) {
    const AllocatorPtr& allocator = subject.allocator;
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
  for_each_subject([](const Subject& subject) {
    const AllocatorPtr& allocator = subject.allocator;
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
  for_each_subject([](const Subject& subject) {
    const AllocatorPtr& allocator = subject.allocator;
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
  for_each_subject([](const Subject& subject) {
    const AllocatorPtr& allocator = subject.allocator;
    constexpr int kThreads = 4;
    constexpr int kRounds = 300;
    const MemoryStats before = allocator->stats();
    HeldBlocks all;
    std::vector<std::thread> threads;
    std::vector<int> damaged(kThreads, 0);
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        std::vector<Block> held;
        const auto free_all = [&] {
          for (const Block& old : held) {
            for (std::uint64_t k = 0; old.host != nullptr && k < old.bytes; ++k) {
              damaged[t] += old.host[k] != static_cast<std::byte>(t + 1);
            }
            all.remove(old);
            allocator->deallocate(old, {});
          }
          held.clear();
        };
        for (int i = 0; i < kRounds; ++i) {
          const std::uint64_t bytes = 1 + static_cast<std::uint64_t>((i * 37 + t * 11) % 700);
          const Block block = *allocator->allocate({.bytes = bytes});
          if (!all.add(block)) ++damaged[t];
          if (block.host != nullptr) std::memset(block.host, t + 1, bytes);
          held.push_back(block);
          if (held.size() == 8) free_all();
        }
        free_all();
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
  for_each_subject([](const Subject& subject) {
    const AllocatorPtr& allocator = subject.allocator;
    const MemoryInfo info = allocator->info();
    CHECK(info.total_bytes > 0);
    CHECK(info.free_bytes <= info.total_bytes);
    CHECK(info.free_bytes > 0);
  });
}

TEST_CASE("a storage gives its memory back once, wherever it was moved") {
  for_each_subject([](const Subject& subject) {
    const AllocatorPtr& allocator = subject.allocator;
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

TEST_CASE("random use by streams and threads is right in every order of progress") {
  for (const DeviceKind& kind : kDeviceKinds) {
    for (const Policy& policy : kPolicies) {
      CAPTURE(kind.name);
      CAPTURE(policy.name);
      OracleOptions options = kind.options;
      for (options.seed = 0; options.seed < 3; ++options.seed) {
        const FuzzSubject subject = fuzz_subject(policy);
        CHECK(fuzz(subject, {.oracle = options, .operations = 2000}).failure == "");
        CHECK(fuzz(subject, {.oracle = options, .operations = 2000, .threads = 3}).failure == "");
        CHECK(fuzz(subject, {.oracle = options,
                             .operations = 2000,
                             .plans = {"alloc#3=oom", "alloc#2+=oom", "piece#2+=oom", "map#2=fail",
                                       "access#2=fail", "reserve#1=oom"}})
                  .failure == "");
      }
    }
  }
}

TEST_CASE("what third streams take over is ordered, and what fits after waiting is found") {
  for (const DeviceKind& kind : kDeviceKinds) {
    if (kind.options.is_inline) continue;
    for (const Policy& policy : kPolicies) {
      CAPTURE(kind.name);
      CAPTURE(policy.name);
      OracleOptions options = kind.options;
      for (options.seed = 0; options.seed < 3; ++options.seed) {
        CHECK(third_stream_scenario(fuzz_subject(policy), options) == "");
        CHECK(look_again_scenario(fuzz_subject(policy), options) == "");
      }
    }
  }
}

}  // namespace miniinfer::testing
