// The judge judged: allocators that are wrong are found out, those that are right pass.

#include "tests/support/oracle.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "tests/memory/simple_allocators.hpp"
#include "tests/support/allocator_fuzz.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/stream_scenarios.hpp"

namespace miniinfer::testing {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

FuzzSubject cutting(Order order) {
  FuzzSubject subject;
  subject.make = [order](Oracle& oracle) -> AllocatorPtr {
    return std::make_shared<CuttingAllocator>(oracle.upstream(), order);
  };
  subject.remove_stream = [](Allocator& allocator, Stream stream) {
    static_cast<CuttingAllocator&>(allocator).remove_stream(stream);
  };
  return subject;
}

FuzzSubject mapping(bool waits) {
  FuzzSubject subject;
  subject.make = [waits](Oracle& oracle) -> AllocatorPtr {
    return std::make_shared<MappingAllocator>(oracle.upstream(), waits);
  };
  return subject;
}

FuzzSubject raw() {
  FuzzSubject subject;
  subject.make = [](Oracle& oracle) -> AllocatorPtr {
    return std::make_shared<PluginAllocator>(oracle.shared_upstream());
  };
  return subject;
}

// What one of many seeds shows to be wrong; empty where none does within so many seconds.
std::string first_failure(const FuzzSubject& subject, FuzzOptions options, double limit) {
  const auto start = std::chrono::steady_clock::now();
  for (options.oracle.seed = 1;; ++options.oracle.seed) {
    const FuzzResult result = fuzz(subject, options);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (!result.failure.empty() || seconds.count() > limit) {
      return result.failure;
    }
  }
}

}  // namespace

TEST_CASE("an allocator that ignores the order of streams is found out within a second") {
  const std::string failure = first_failure(
      cutting(Order::Ignores), {.oracle = {.memory = 4 * kMiB}, .operations = 1000}, kSlack);
  CHECK(failure.find("race: ") != std::string::npos);
  CHECK(failure.find("given back for stream") != std::string::npos);
}

TEST_CASE("an allocator that does not carry a donor's order on is found out within a second") {
  const std::string failure = first_failure(
      cutting(Order::Merges), {.oracle = {.memory = 4 * kMiB}, .operations = 1000}, kSlack);
  CHECK(failure.find("race: ") != std::string::npos);
}

TEST_CASE("an allocator that unmaps what a stream still uses is found out within a second") {
  const std::string failure =
      first_failure(mapping(false), {.oracle = {.granularity = 65536}, .operations = 1000}, kSlack);
  CHECK(failure.find("are unmapped while") != std::string::npos);
}

TEST_CASE("allocators that wait for the stream at every free are right") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const OracleOptions plain{.seed = seed, .memory = 4 * kMiB};
    OracleOptions mapped = plain;
    mapped.granularity = 65536;
    OracleOptions flat = mapped;
    flat.flat = true;
    CHECK(fuzz(cutting(Order::Waits), {.oracle = plain}).failure == "");
    CHECK(fuzz(mapping(true), {.oracle = mapped}).failure == "");
    CHECK(fuzz(mapping(true), {.oracle = flat}).failure == "");
  }
}

TEST_CASE("the device's own memory is right, also freed in the order of a stream") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CHECK(fuzz(raw(), {.oracle = {.seed = seed}}).failure == "");
    CHECK(fuzz(raw(), {.oracle = {.seed = seed, .is_inline = true}}).failure == "");
  }
  CHECK(fuzz(raw(), {.oracle = {.seed = 1}, .operations = 40000, .threads = 4}).failure == "");
}

TEST_CASE("a failing driver does no harm to who checks what it says") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const FuzzResult result =
        fuzz(mapping(true), {.oracle = {.seed = seed, .granularity = 65536},
                             .plans = {"piece#3=oom", "map#2+=fail", "access#5=fail"}});
    CHECK(result.failure == "");
    CHECK(result.refused > 0);
  }
}

TEST_CASE("memory that a third stream takes over is ordered (rmm#2489)") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    CHECK(third_stream_scenario(cutting(Order::Waits), {.seed = seed}) == "");
  }
  CHECK(third_stream_scenario(cutting(Order::Ignores), {}).find("race") != std::string::npos);
  const std::string found = third_stream_scenario(cutting(Order::Merges), {});
  CHECK(found.find("race: write, work 2 of stream 3, writes") != std::string::npos);
  CHECK(found.find("which write, work 1 of stream 2, writes") != std::string::npos);
}

TEST_CASE("what fits after waiting is found (pytorch#189504)") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    CHECK(look_again_scenario(cutting(Order::Waits), {.seed = seed}) == "");
  }
  CHECK(look_again_scenario(cutting(Order::Ignores), {}).find("race") != std::string::npos);
}

TEST_CASE("an oracle is made and gone in a fraction of a millisecond") {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i) Oracle oracle;
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  CHECK(seconds.count() < kSlack);
}

}  // namespace miniinfer::testing
