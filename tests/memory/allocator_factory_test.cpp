#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "core/memory/allocator_factory.hpp"
#include "core/memory/cpu_allocator.hpp"

namespace miniinfer {
namespace {

AllocatorPtr some(const char* name = "x:0") { return std::make_shared<CPUAllocator>(name); }

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

TEST_CASE("the host's memory needs no registration") {
  AllocatorTable table;
  CHECK(table.get("cpu:0", MemoryKind::Device));
  CHECK(table.get("cpu", MemoryKind::Host));
  CHECK(table.registered() == std::vector<std::string>{"cpu:0/device", "cpu:0/host"});
}

TEST_CASE("an unknown device is an error that lists the known ones") {
  AllocatorTable table;
  table.add_pending("x:1", [] { return Status(); });
  const Result<AllocatorPtr> none = table.get("x:7", MemoryKind::Device);
  CHECK(none.status().code() == Code::NotFound);
  CHECK(contains(none.status().message(), "x:7"));
  CHECK(contains(none.status().message(), "cpu:0, x:1"));
  CHECK(table.get("", MemoryKind::Device).status().code() == Code::NotFound);
}

TEST_CASE("a pending device is opened by the first get, without the table's lock") {
  AllocatorTable table;
  int opened = 0;
  table.add_pending("x:0", [&] {
    ++opened;
    CHECK(contains(table.registered().back(), "x:0/pending"));  // would deadlock under the lock
    return table.add_opened("x:0", {{MemoryKind::Device, some()}});
  });
  CHECK(table.registered().back() == "x:0/pending");
  const AllocatorPtr first = table.get("x:0", MemoryKind::Device).value();
  CHECK(table.get("x:0", MemoryKind::Device).value() == first);
  CHECK(opened == 1);
  CHECK(table.registered().back() == "x:0/device");
}

TEST_CASE("a device that cannot be opened says why, and may be tried again") {
  AllocatorTable table;
  int tries = 0;
  table.add_pending("x:0", [&]() -> Status {
    if (++tries == 1) return {Code::Unavailable, "the driver is busy"};
    return table.add_opened("x:0", {{MemoryKind::Device, some()}});
  });
  const Result<AllocatorPtr> first = table.get("x:0", MemoryKind::Device);
  CHECK(first.status().message() == "the driver is busy");
  CHECK(table.get("x:0", MemoryKind::Device).ok());
}

TEST_CASE("a kind that a device lacks is an error that lists those it has") {
  AllocatorTable table;
  table.add_pending("x:0", [&] {
    return table.add_opened("x:0", {{MemoryKind::Device, some()}, {MemoryKind::Pinned, some()}});
  });
  const Status status = table.get("x:0", MemoryKind::Host).status();
  CHECK(status.code() == Code::NotFound);
  CHECK(status.message() == "x:0 has no host memory; it has device, pinned");
}

TEST_CASE("registering the allocators of a device is a transaction") {
  AllocatorTable table;
  CHECK(
      table.add_opened("x:0", {{MemoryKind::Device, some()}, {MemoryKind::Host, nullptr}}).code() ==
      Code::InvalidArgument);
  CHECK(table.add_opened("x:0", {{MemoryKind::Device, some()}, {MemoryKind::Device, some()}})
            .code() == Code::InvalidArgument);
  CHECK(table.get("x:0", MemoryKind::Device).status().code() == Code::NotFound);
  CHECK(table.add_opened("x:0", {{MemoryKind::Device, some()}}).ok());
  CHECK(table.add_opened("x:0", {{MemoryKind::Host, some()}}).code() == Code::FailedPrecondition);
  CHECK_FALSE(table.get("x:0", MemoryKind::Host).ok());
}

TEST_CASE("an allocator is replaced until it has been handed out") {
  AllocatorTable table;
  const AllocatorPtr mine = some(), other = some();
  CHECK(table.replace("cpu:0", MemoryKind::Device, mine).ok());
  CHECK(table.replace("cpu:0", MemoryKind::Device, other).ok());
  CHECK(table.get("cpu:0", MemoryKind::Device).value() == other);
  const Status late = table.replace("cpu:0", MemoryKind::Device, mine);
  CHECK(late.code() == Code::FailedPrecondition);
  CHECK(contains(late.message(), "cpu:0/device"));
  CHECK(table.replace("cpu:0", MemoryKind::Host, mine).ok());  // another kind, not handed out
  CHECK(table.replace("cpu:0", MemoryKind::Host, nullptr).code() == Code::InvalidArgument);
  CHECK(table.replace("y:0", MemoryKind::Host, mine).code() == Code::NotFound);
}

TEST_CASE("what was put in place before a device is opened stays") {
  AllocatorTable table;
  const AllocatorPtr mine = some(), plugins = some();
  int opened = 0;
  table.add_pending("x:0", [&] {
    ++opened;
    return table.add_opened("x:0", {{MemoryKind::Device, plugins}, {MemoryKind::Pinned, plugins}});
  });
  CHECK(table.replace("x:0", MemoryKind::Device, mine).ok());
  CHECK(table.get("x:0", MemoryKind::Device).value() == mine);
  CHECK(opened == 0);
  CHECK(table.get("x:0", MemoryKind::Pinned).value() == plugins);
  CHECK(table.get("x:0", MemoryKind::Device).value() == mine);
}

TEST_CASE("allocators are forgotten only when nobody holds one") {
  AllocatorTable table;
  table.add_pending("x:0", [&] {
    const AllocatorPtr both = some();
    return table.add_opened("x:0", {{MemoryKind::Device, both}, {MemoryKind::Pinned, both}});
  });
  AllocatorPtr held = table.get("x:0", MemoryKind::Device).value();
  const Status busy = table.remove_opened("x:0");
  CHECK(busy.code() == Code::FailedPrecondition);
  CHECK(contains(busy.message(), "x:0"));
  CHECK(table.get("x:0", MemoryKind::Device).value() == held);
  held.reset();
  CHECK(table.remove_opened("x:0").ok());
  CHECK(table.registered().back() == "x:0/pending");
  CHECK(table.get("x:0", MemoryKind::Device).ok());
}

TEST_CASE("the host's memory stays when its device is closed") {
  AllocatorTable table;
  const AllocatorPtr held = table.get("cpu:0", MemoryKind::Device).value();
  CHECK(table.add_opened("cpu:0", {}).ok());
  CHECK(table.remove_opened("cpu:0").ok());
  CHECK(table.get("cpu:0", MemoryKind::Device).value() == held);
}

TEST_CASE("threads that ask for a pending device at once get the same allocator") {
  AllocatorTable table;
  std::mutex loader;
  bool open = false;
  table.add_pending("x:0", [&]() -> Status {
    const std::lock_guard lock(loader);
    if (std::exchange(open, true)) return {};
    return table.add_opened("x:0", {{MemoryKind::Device, some()}});
  });
  std::vector<AllocatorPtr> got(4);
  std::vector<std::thread> threads;
  for (AllocatorPtr& one : got) {
    threads.emplace_back([&] { one = table.get("x:0", MemoryKind::Device).value(); });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(std::all_of(got.begin(), got.end(), [&](const auto& one) { return one == got[0]; }));
}

}  // namespace miniinfer
