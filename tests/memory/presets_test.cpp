#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>

#include "core/memory/allocator_factory.hpp"
#include "core/memory/allocator_upstream.hpp"
#include "core/memory/cpu_allocator.hpp"
#include "core/platform/address_sanitizer.hpp"

namespace miniinfer {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// A table with a device "x:0" whose memory counts what is asked of it.
struct Fixture {
  Fixture() {
    table.add_pending("x:0", [this] {
      ++opened;
      return table.add_opened(
          "x:0", {{MemoryKind::Device, std::make_shared<CPUAllocator>("x:0"),
                   std::make_shared<AllocatorUpstream>(raw, MemoryKind::Device, nullptr)}});
    });
  }
  AllocatorPtr get(std::string_view name) { return table.get(name, MemoryKind::Device).value(); }

  std::shared_ptr<CPUAllocator> raw = std::make_shared<CPUAllocator>("x:0");
  AllocatorTable table;
  int opened = 0;
};

class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Environment() { ::unsetenv(name_); }

 private:
  const char* name_;
};

}  // namespace

TEST_CASE("one name gives one object while somebody holds it") {
  Fixture f;
  AllocatorPtr first = f.get("x:0/pool?limit=64MiB");
  CHECK(f.get("x/pool?limit=65536KiB") == first);
  CHECK(f.get("x/pool") != first);
  const std::weak_ptr<Allocator> watch = first;
  first.reset();
  CHECK(watch.expired());
  CHECK(f.get("x:0/pool?limit=64MiB")->stats().allocations == 0);
  CHECK(f.opened == 1);
}

TEST_CASE("caching without options is the pool that everybody shares") {
  Fixture f;
  const AllocatorPtr caching = f.get("x:0/caching");
  CHECK(caching == f.table.pool("x:0", MemoryKind::Device).value());
  const AllocatorPtr tracked = f.get("x:0/caching/tracking");
  tracked->deallocate(tracked->allocate({.bytes = 1}).value(), {});
  CHECK(caching->stats().allocations == 1);
  CHECK(f.get("x:0/caching?slack=1.5") != caching);
  CHECK(f.table.pool("x:0", MemoryKind::Pinned).status().code() == Code::NotFound);
}

TEST_CASE("the device's own allocator stays as it is") {
  Fixture f;
  const AllocatorPtr raw = f.get("x:0");
  CHECK(raw->pool() == nullptr);
  const Block block = f.get("x:0/caching")->allocate({.bytes = 64}).value();
  CHECK(raw->stats().allocations == 0);
  CHECK(f.raw->stats().allocations == 1);
  f.get("x:0/caching")->deallocate(block, {});
}

TEST_CASE("a pool asks the driver in large pieces and keeps what comes back") {
  Fixture f;
  const AllocatorPtr pool = f.get("x:0/caching");
  for (int i = 0; i < 1000; ++i) {
    const Block block = pool->allocate({.bytes = 4096}).value();
    std::memset(block.host, i, block.bytes);
    pool->deallocate(block, {});
  }
  CHECK(f.raw->stats().allocations == 1);
  CHECK(pool->stats().allocations == 1000);
  CHECK(pool->pool()->check() == "");
  CHECK(pool->pool()->trim(0) > 0);
  CHECK(f.raw->stats().allocated_bytes == 0);
}

TEST_CASE("layers wrap what is to their left") {
  Fixture f;
  const AllocatorPtr limited = f.get("x:0/caching/limit?bytes=8K/tracking");
  const Block block = limited->allocate({.bytes = 8192}).value();
  CHECK(limited->allocate({.bytes = 1}).status().code() == Code::LimitExceeded);
  CHECK(limited->stats().allocated_bytes == 8192);
  CHECK(limited->stats().failures == 1);
  CHECK(f.get("x:0/caching")->stats().allocated_bytes == 8192);
  limited->deallocate(block, {});
  // The limit counts pieces where it is what the pool is built on.
  const AllocatorPtr over = f.get("x:0/limit?bytes=3MiB/pool");
  CHECK(over->allocate({.bytes = 4 * kMiB}).status().code() == Code::LimitExceeded);
  CHECK(over->allocate({.bytes = kMiB}).ok());
}

TEST_CASE("AddressSanitizer knows what of a pool of the host's memory is whose") {
  if (!kAddressSanitizer) return;
  for (const char* const name : {"x:0/pool", "x:0/caching?slack=2"}) {
    Fixture f;
    const AllocatorPtr pool = f.get(name);
    const Block block = *pool->allocate({.bytes = 100});
    CHECK_FALSE(is_poisoned(block.host + 99));
    CHECK(is_poisoned(block.host + 104));
    pool->deallocate(block, {});
    CHECK(is_poisoned(block.host));
    const Block again = *pool->allocate({.bytes = 40});
    CHECK(again.host == block.host);
    CHECK(is_poisoned(block.host + 99));
    pool->deallocate(again, {});
  }
}

TEST_CASE("a device is not forgotten while a pool, or a block's owner, is held") {
  Fixture f;
  AllocatorPtr pool = f.get("x:0/pool");
  CHECK(f.table.remove_opened("x:0").code() == Code::FailedPrecondition);
  pool.reset();
  AllocatorPtr shared = f.get("x:0/caching");
  const Block block = shared->allocate({.bytes = 8}).value();
  CHECK(f.table.remove_opened("x:0").code() == Code::FailedPrecondition);
  shared->deallocate(block, {});
  shared.reset();
  CHECK(f.table.remove_opened("x:0").ok());
  CHECK(f.raw->stats().allocated_bytes == 0);  // the pool gave back what it kept
  CHECK(f.get("x:0/caching")->allocate({.bytes = 8}).ok());
  CHECK(f.opened == 2);
}

TEST_CASE(
    "pools build on an allocator that was put in place, and give it its blocks as they were") {
  class Mine final : public Allocator {
   public:
    Result<Block> allocate(const MemoryRequest& request) noexcept override {
      Result<Block> block = memory.allocate(request);
      if (block) block->token = 4711;
      return block;
    }
    void deallocate(Block block, Stream stream) noexcept override {
      good = good && block.token == 4711;
      memory.deallocate(block, stream);
    }
    MemoryStats stats() const noexcept override { return memory.stats(); }
    CPUAllocator memory;
    bool good = true;
  };
  Fixture f;
  const auto mine = std::make_shared<Mine>();
  REQUIRE(f.table.replace("x:0", MemoryKind::Device, mine).ok());
  AllocatorPtr pool = f.get("x:0/caching");
  pool->deallocate(pool->allocate({.bytes = 100}).value(), {});
  CHECK(mine->stats().allocations == 1);
  CHECK(f.raw->stats().allocations == 0);
  CHECK(f.opened == 1);  // its streams must be known
  pool.reset();
  CHECK(f.table.remove_opened("x:0").ok());
  CHECK(mine->stats().allocated_bytes == 0);
  CHECK(mine->good);
  CHECK(f.get("x:0") == mine);
}

TEST_CASE("an allocator that a pool was built on cannot be replaced") {
  Fixture f;
  CHECK(f.table.pool("cpu:0", MemoryKind::Host).ok());
  CHECK(f.table.replace("cpu:0", MemoryKind::Host, f.raw).code() == Code::FailedPrecondition);
  CHECK(f.table.replace("cpu:0", MemoryKind::Device, f.raw).ok());
  CHECK(f.get("cpu:0/caching")->allocate({.bytes = 1}).ok());
  CHECK(f.raw->stats().allocations == 1);
}

TEST_CASE("the environment configures the shared pool, and what it gets wrong is an error") {
  {
    const Environment memory("MINIINFER_MEMORY", "limit=4MiB");
    Fixture f;
    CHECK(f.get("x:0/caching")->allocate({.bytes = 5 * kMiB}).status().code() ==
          Code::LimitExceeded);
    CHECK(f.get("x:0/caching?limit=8MiB")->allocate({.bytes = 5 * kMiB}).ok());
  }
  const Environment memory("MINIINFER_MEMORY", "limmit=4MiB");
  Fixture f;
  const Status status = f.table.get("x:0/caching", MemoryKind::Device).status();
  CHECK(status.code() == Code::InvalidArgument);
  CHECK(contains(status.message(), "MINIINFER_MEMORY: there is no option 'limmit'"));
  CHECK(f.table.get("x:0", MemoryKind::Device).ok());
}

TEST_CASE("the process and each device have a budget that all pools draw on") {
  const Environment limits("MINIINFER_MEMORY_LIMIT", "16MiB,x=8MiB");
  Fixture f;
  const AllocatorPtr a = f.get("x:0/caching"), b = f.get("x:0/pool"), host = f.get("cpu:0/caching");
  const Block six = a->allocate({.bytes = 6 * kMiB}).value();
  const Status device = b->allocate({.bytes = 3 * kMiB, .tag = "weights"}).status();
  CHECK(device.code() == Code::LimitExceeded);
  REQUIRE(device.memory_report());
  CHECK(contains(device.memory_report()->limit, "x:0 as a whole"));
  CHECK(contains(device.message(), "x:0 as a whole (MINIINFER_MEMORY_LIMIT)"));
  const Status process = host->allocate({.bytes = 11 * kMiB}).status();
  CHECK(process.code() == Code::LimitExceeded);
  CHECK(contains(process.message(), "this process"));
  CHECK(f.raw->stats().failures == 0);  // the driver was not asked
  a->deallocate(six, {});
  a->pool()->trim(0);
  CHECK(b->allocate({.bytes = 3 * kMiB}).ok());
  CHECK(host->allocate({.bytes = 11 * kMiB}).ok());
}

TEST_CASE("limits that cannot be read are errors") {
  for (const char* text : {"lots", "=1G", "x=", "1G,,2G", "x:0=1G,y"}) {
    const Environment limits("MINIINFER_MEMORY_LIMIT", text);
    Fixture f;
    CAPTURE(text);
    const Status status = f.table.pool("x:0", MemoryKind::Device).status();
    CHECK(status.code() == Code::InvalidArgument);
    CHECK(contains(status.message(), "MINIINFER_MEMORY_LIMIT"));
  }
}

}  // namespace miniinfer
