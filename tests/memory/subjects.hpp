#pragma once

// Every allocator over every kind of memory: a new policy, or a new kind of memory, is one line.

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>

#include "core/memory/allocator_upstream.hpp"
#include "core/memory/announced_pool.hpp"
#include "core/memory/cpu_allocator.hpp"
#include "core/memory/fault_allocator.hpp"
#include "core/memory/pool/make_pool.hpp"
#include "miniinfer/allocator.hpp"
#include "tests/support/allocator_fuzz.hpp"
#include "tests/support/oracle.hpp"

namespace miniinfer::testing {

// Memory that allocators are built over.
struct RawMemory {
  AllocatorPtr allocator;                    // the device's own
  std::shared_ptr<MemoryUpstream> upstream;  // null: the host's memory
  bool flat = true;                          // handle + offset is an address

  explicit RawMemory(AllocatorPtr host) : allocator(std::move(host)) {}
  explicit RawMemory(Oracle& oracle)
      : allocator(std::make_shared<PluginAllocator>(oracle.shared_upstream())),
        upstream(oracle.shared_upstream()),
        flat(oracle.upstream().properties().flat_address) {}
};

struct DeviceKind {
  const char* name;
  OracleOptions options;
};

inline const DeviceKind kDeviceKinds[] = {
    {"handles", {}},
    {"flat addresses", {.flat = true}},
    {"mapped handles", {.granularity = 65536}},
    {"mapped flat addresses", {.granularity = std::uint64_t{2} << 20, .flat = true}},
    {"an inline device", {.is_inline = true}},
};

struct Policy {
  const char* name;
  AllocatorPtr (*make)(const RawMemory&);  // null where it does not go with the memory
  FuzzSubject hooks{};                     // but `make`
};

inline AllocatorPtr limited(AllocatorPtr upstream) {
  return limit_allocator(std::move(upstream), std::uint64_t{1} << 40, "test");
}
inline AllocatorPtr faulty(AllocatorPtr upstream) {
  return std::make_shared<FaultAllocator>(std::move(upstream));
}

inline AllocatorPtr pooled(const RawMemory& memory, std::uint64_t thread_cache_bytes) {
  PoolOptions options;
  options.thread_cache_bytes = thread_cache_bytes;
  std::shared_ptr<MemoryUpstream> upstream = memory.upstream;
  if (!upstream) {
    upstream = std::make_shared<AllocatorUpstream>(memory.allocator, MemoryKind::Device, nullptr);
  }
  return make_pool(std::move(upstream), "a device", options, nullptr);
}

inline FuzzSubject pool_hooks() {
  FuzzSubject hooks;
  hooks.add_stream = [](Allocator& a, Stream s) { CHECK(a.pool()->add_stream(s).ok()); };
  hooks.remove_stream = [](Allocator& a, Stream s) { a.pool()->remove_stream(s); };
  hooks.synced = [](Allocator& a, Stream s) { a.pool()->synced(s); };
  hooks.record_use = [](Allocator& a, const Block& b, Stream s) { a.pool()->record_use(b, s); };
  hooks.check = [](Allocator& a) { return a.pool()->check(); };
  hooks.trim = [](Allocator& a) { a.pool()->trim(0); };
  return hooks;
}

inline const Policy kPolicies[] = {
    {"raw", [](const RawMemory& memory) { return memory.allocator; }},
    {"limit", [](const RawMemory& memory) { return limited(memory.allocator); }},
    {"tracking", [](const RawMemory& memory) { return tracking_allocator(memory.allocator); }},
    {"fault", [](const RawMemory& memory) { return faulty(memory.allocator); }},
    {"pool", [](const RawMemory& memory) { return pooled(memory, 0); }, pool_hooks()},
    {"caching", [](const RawMemory& memory) { return pooled(memory, std::uint64_t{1} << 20); },
     pool_hooks()},
    {"announced pool",
     [](const RawMemory& memory) {
       PoolOptions options;
       options.annotate = true;
       return memory.upstream == nullptr ? nullptr
                                         : AllocatorPtr(make_announced_pool(
                                               memory.upstream, "a device", options, nullptr));
     },
     pool_hooks()},
    {"tracking over limit over caching",
     [](const RawMemory& memory) {
       return tracking_allocator(limited(pooled(memory, std::uint64_t{1} << 20)));
     },
     pool_hooks()},
    {"pool over tracking",
     [](const RawMemory& memory) {
       RawMemory tracked = memory;
       tracked.upstream = std::make_shared<AllocatorUpstream>(tracking_allocator(memory.allocator),
                                                              MemoryKind::Device, memory.upstream);
       return pooled(tracked, 0);
     },
     pool_hooks()},
    {"tracking over limit over fault",
     [](const RawMemory& memory) { return tracking_allocator(limited(faulty(memory.allocator))); }},
};

// An allocator under test with what it stands on.
struct Subject {
  std::string name;
  AllocatorPtr allocator;
  Oracle* oracle = nullptr;  // null: host memory
  bool flat = true;

  // What is aligned as was asked for.
  std::uint64_t place(const Block& block) const {
    if (block.host != nullptr) return reinterpret_cast<std::uint64_t>(block.host);
    return flat ? block.handle + block.offset : block.offset;
  }
};

// Calls check(subject) for each; afterwards nothing is left and no rule was broken.
template <class Check>
void for_each_subject(Check&& check) {
  for (const Policy& policy : kPolicies) {
    const RawMemory host(std::make_shared<CPUAllocator>());
    Subject subject{std::string(policy.name) + " over cpu", policy.make(host)};
    CAPTURE(subject.name);
    if (subject.allocator != nullptr) check(subject);
  }
  for (const DeviceKind& kind : kDeviceKinds) {
    for (const Policy& policy : kPolicies) {
      Oracle oracle(kind.options);
      Subject subject{std::string(policy.name) + " over " + kind.name, nullptr, &oracle};
      CAPTURE(subject.name);
      {
        const RawMemory memory(oracle);
        subject.flat = memory.flat;
        subject.allocator = policy.make(memory);
      }
      if (subject.allocator != nullptr) check(subject);
      subject.allocator.reset();
      CHECK(oracle.violations() == "");
      CHECK(oracle.leaks() == "");
    }
  }
  for (const char* name : {"cpu:0", "cpu:0/caching", "cpu:0/pool", "cpu:0/tracking/pool",
                           "cpu:0/caching/limit?bytes=1T/tracking"}) {
    Subject factory{"the factory's " + std::string(name), AllocatorFactory::get(name).value()};
    CAPTURE(factory.name);
    check(factory);
  }
}

// A policy as the fuzz wants it.
inline FuzzSubject fuzz_subject(const Policy& policy) {
  FuzzSubject subject = policy.hooks;
  subject.make = [&policy](Oracle& oracle) { return policy.make(RawMemory(oracle)); };
  return subject;
}

}  // namespace miniinfer::testing
