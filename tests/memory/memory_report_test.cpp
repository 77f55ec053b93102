#include <doctest/doctest.h>

#include <algorithm>

#include "core/memory/allocator_upstream.hpp"
#include "core/memory/cpu_allocator.hpp"
#include "core/memory/pool/make_pool.hpp"

namespace miniinfer {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

AllocatorPtr pool_of(std::uint64_t limit) {
  PoolOptions options;
  options.limit = limit;
  return make_pool(std::make_shared<AllocatorUpstream>(std::make_shared<CPUAllocator>(),
                                                       MemoryKind::Device, nullptr),
                   "cpu:0", options, nullptr);
}

}  // namespace

TEST_CASE("a pool that cannot serve says what was asked, who refused and who has the memory") {
  const AllocatorPtr pool = pool_of(16 * kMiB);
  const auto take = [&](std::uint64_t bytes, Lifetime lifetime, const char* tag) {
    return pool->allocate({.bytes = bytes, .lifetime = lifetime, .tag = tag}).value();
  };
  const Block weights = take(6 * kMiB, Lifetime::Weights, "weights");
  const Block more = take(kMiB, Lifetime::Weights, "weights");
  const Block arena = take(3 * kMiB, Lifetime::Arena, "arena");
  const Block tensor = take(kMiB, Lifetime::Transient, "tensor");
  const Status status =
      pool->allocate({.bytes = 9 * kMiB, .lifetime = Lifetime::Arena, .tag = "big"}).status();
  CHECK(status.code() == Code::LimitExceeded);
  const auto report = status.memory_report();
  REQUIRE(report);
  CHECK(report->device == "cpu:0");
  CHECK(report->asked_bytes == 9 * kMiB);
  CHECK(report->tag == "big");
  CHECK(report->limit == "the pool of cpu:0");
  CHECK(report->limit_bytes == 16 * kMiB);
  CHECK(report->limit_used_bytes <= report->limit_bytes);
  CHECK(report->device_total_bytes > 0);
  CHECK(report->allocated_bytes == 11 * kMiB);
  CHECK(report->reserved_bytes >= report->allocated_bytes);
  REQUIRE(report->tags.size() == 3);
  CHECK(report->tags[0].name == "weights");
  CHECK(report->tags[0].bytes == 7 * kMiB);
  CHECK(report->tags[1].name == "arena");
  CHECK(report->tags[2].name == "transient");
  CHECK(report->held_back.empty());
  REQUIRE(report->steps.size() >= 3);
  CHECK(report->steps[0].name == "poll");
  const std::vector<std::string> lines = to_lines(*report);
  CHECK(std::count(lines.begin(), lines.end(), "asked      9.0 MiB for big on cpu:0") == 1);
  CHECK(std::count(lines.begin(), lines.end(),
                   "in use     weights 7.0 MiB, arena 3.0 MiB, transient 1.0 MiB") == 1);
  for (const Block& block : {weights, more, arena, tensor}) pool->deallocate(block, {});
}

TEST_CASE("context that is added to a status keeps its report") {
  const Status status = pool_of(0)->allocate({.bytes = 1}).status().with_context("loading");
  REQUIRE(status.memory_report());
  CHECK(status.memory_report()->asked_bytes == 1);
  CHECK(status.message().starts_with("loading: "));
  CHECK(Status().memory_report() == nullptr);
  CHECK(Status(Code::NotFound, "x").memory_report() == nullptr);
  CHECK(Status().with_memory_report({}).ok());
}

TEST_CASE("a driver that has no room, and a limit of its own, report as well") {
  CPUAllocator raw;
  const auto report = raw.allocate({.bytes = ~0ull, .tag = "t"}).status().memory_report();
  REQUIRE(report);
  CHECK(report->limit.empty());
  CHECK(report->device_total_bytes > 0);
  CHECK(report->asked_bytes == ~0ull);
  const AllocatorPtr limited = limit_allocator(pool_of(kMiB), 100, "s");
  const auto refused = limited->allocate({.bytes = 101}).status().memory_report();
  REQUIRE(refused);
  CHECK(refused->limit == "s");
  CHECK(refused->limit_bytes == 100);
}

}  // namespace miniinfer
