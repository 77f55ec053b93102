// The pool under random work, over devices that can map memory and such that cannot.

#include <doctest/doctest.h>

#include <cstdlib>
#include <thread>

#include "core/memory/pool/make_pool.hpp"
#include "tests/memory/pool/fuzz.hpp"

namespace miniinfer::testing {
namespace {

// Millions of steps; MINIINFER_FUZZ_STEPS asks for more.
std::uint64_t steps() {
  const char* const asked = std::getenv("MINIINFER_FUZZ_STEPS");
  return asked != nullptr ? std::strtoull(asked, nullptr, 10) : 200'000;
}

struct Case {
  const char* name;
  OrderedDeviceOptions device;
  PoolOptions pool;
  FuzzOptions fuzz;
};

std::vector<Case> cases() {
  const std::uint64_t MiB = std::uint64_t{1} << 20;
  std::vector<Case> all;
  for (const std::uint64_t granularity : {std::uint64_t{64} << 10, std::uint64_t{0}}) {
    for (const std::uint64_t cache : {std::uint64_t{0}, 4 * MiB}) {
      for (const std::uint64_t total : {48 * MiB, 512 * MiB}) {
        for (const bool faults : {false, true}) {
          Case one{};
          one.name = granularity == 0 ? "segments" : "mapping";
          one.device.granularity = granularity;
          one.device.total = total;
          one.pool.thread_cache_bytes = cache;
          one.fuzz.faults = faults;
          all.push_back(one);
        }
      }
    }
  }
  return all;
}

void fuzz_alone(const Case& at, std::uint64_t seed, std::uint64_t length) {
  OrderedDeviceOptions device_options = at.device;
  device_options.seed = seed;
  const auto device = std::make_shared<OrderedDevice>(device_options);
  const auto budget = std::make_shared<Budget>("test", Budget::kUnlimited);
  {
    const std::shared_ptr<PoolAllocator> pool = make_pool(device, "test:0", at.pool, budget);
    FuzzOptions options = at.fuzz;
    options.seed = seed;
    Fuzz fuzz(*pool, *device, options);
    for (std::uint64_t done = 0; done < length; done += 500) {
      fuzz.run(500);
      check_books(*pool, *device, *budget, fuzz.live(), fuzz.live_bytes(), fuzz.refused());
    }
    fuzz.finish();
    pool->trim(0);
    check_books(*pool, *device, *budget, 0, 0, fuzz.refused());
    if (!options.faults) expect(device->used() == 0, "memory is kept that nobody uses");
  }
  expect(device->violations().empty(), device->violations());
  expect(device->is_clean(), "something was not given back to the device");
  expect(budget->used() == 0, "something was not given back to the budget");
}

void fuzz_threads(const Case& at, std::uint64_t seed, std::uint64_t length) {
  const auto device = std::make_shared<OrderedDevice>(at.device);
  const auto budget = std::make_shared<Budget>("test", Budget::kUnlimited);
  {
    const std::shared_ptr<PoolAllocator> pool = make_pool(device, "test:0", at.pool, budget);
    Mailbox mailbox;
    std::mutex mutex;
    std::string wrong;
    std::uint64_t refused = 0;
    std::vector<std::thread> threads;
    for (std::uint64_t number = 0; number < 4; ++number) {
      threads.emplace_back([&, number] {
        FuzzOptions options = at.fuzz;
        options.seed = seed * 31 + number;
        options.streams = 2;
        options.most_live /= 4;
        options.bad_frees = false;
        try {
          Fuzz fuzz(*pool, *device, options, &mailbox);
          for (std::uint64_t done = 0; done < length; done += 1000) {
            fuzz.run(1000);
            expect(pool->check().empty(), pool->check());
          }
          fuzz.finish();
          const std::lock_guard lock(mutex);
          refused += fuzz.refused();
        } catch (const std::exception& error) {
          const std::lock_guard lock(mutex);
          wrong = error.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    expect(wrong.empty(), wrong);
    for (const Item& item : mailbox.items) pool->deallocate(item.block, {});
    pool->trim(0);
    check_books(*pool, *device, *budget, 0, 0, refused);
    if (!at.fuzz.faults) expect(device->used() == 0, "memory is kept that nobody uses");
  }
  expect(device->violations().empty(), device->violations());
  expect(device->is_clean(), "something was not given back to the device");
}

template <class F>
void each_case(F&& run) {
  const std::vector<Case> all = cases();
  const std::uint64_t length = std::max<std::uint64_t>(steps() / all.size(), 500);
  std::uint64_t seed = 1;
  for (const Case& at : all) {
    // Short lives find what happens when a pool begins and ends.
    for (std::uint64_t left = length; left > 0; ++seed) {
      const std::uint64_t part = std::min<std::uint64_t>(left, seed % 2 == 0 ? 1'000 : 20'000);
      CAPTURE(at.name);
      CAPTURE(at.device.total);
      CAPTURE(at.pool.thread_cache_bytes);
      CAPTURE(at.fuzz.faults);
      CAPTURE(seed);
      std::string wrong;
      try {
        run(at, seed, part);
      } catch (const std::exception& error) {
        wrong = error.what();
      }
      REQUIRE(wrong == "");
      left -= part;
    }
  }
}

}  // namespace

TEST_CASE("random work of one thread finds every promise of the pool kept") {
  each_case(fuzz_alone);
}

TEST_CASE("random work of several threads finds every promise of the pool kept") {
  each_case([](const Case& at, std::uint64_t seed, std::uint64_t length) {
    fuzz_threads(at, seed, length / 4 + 1);
  });
}

}  // namespace miniinfer::testing
