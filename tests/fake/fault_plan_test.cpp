#include "plugins/fake/fault_plan.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "miniinfer/sdk/error.hpp"
#include "tests/fake/fake_device.hpp"

using miniinfer::fake::FaultPlan;
using miniinfer::test::FakeDevice;
using Action = FaultPlan::Action;

namespace {

std::vector<Action> calls(FaultPlan plan, const char* site, int count) {
  std::vector<Action> actions;
  for (int i = 0; i < count; ++i) actions.push_back(plan.next(site));
  return actions;
}

}  // namespace

TEST_CASE("a rule fires at its call, once or from then on") {
  CHECK(calls(FaultPlan::parse("alloc#2=oom"), "alloc", 3) ==
        std::vector{Action::None, Action::Oom, Action::None});
  CHECK(calls(FaultPlan::parse("copy#1=lost;alloc#2+=fail"), "alloc", 3) ==
        std::vector{Action::None, Action::Fail, Action::Fail});
  CHECK(calls(FaultPlan::parse(""), "alloc", 1) == std::vector{Action::None});
}

TEST_CASE("a rule that cannot be read is quoted") {
  for (const char* text :
       {"alloc", "alloc#=oom", "alloc#0=oom", "alloc#x=oom", "alloc#1=boom", "walk#1=oom",
        "alloc=oom#1", "copy#1=oom;;alloc#-1=oom", "alloc#99999999999999999999=oom"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(FaultPlan::parse(text), miniinfer::sdk::Error);
  }
  FakeDevice fake("walk#1=oom");
  CHECK_EQ(fake.opened, MINIINFER_INVALID_ARGUMENT);
  CHECK_NE(fake.host.error.find("\"walk#1=oom\""), std::string::npos);
}

TEST_CASE("a failed allocation leaves nothing behind and the next one works") {
  FakeDevice fake("alloc#2=oom");
  const miniinfer_mem first = fake.alloc(8);
  miniinfer_mem second{5, 6};
  CHECK_EQ(fake.alloc(8, &second), MINIINFER_OUT_OF_MEMORY);
  CHECK_EQ(second.handle, 5u);
  CHECK_EQ(fake.ledger().live_allocations, 1u);
  CHECK_EQ(fake.ledger().faults_fired, 1u);
  second = fake.alloc(8);
  fake.free(first, 8);
  fake.free(second, 8);
}

TEST_CASE("work that fails late shows at sync and stays with its stream") {
  FakeDevice fake("run#2=fail");
  miniinfer_stream* stream = fake.make_stream();
  miniinfer_stream* other = fake.make_stream();
  const miniinfer_mem mem = fake.alloc(4);
  for (int i = 0; i < 3; ++i) {
    CHECK_EQ(fake.stream->fill(stream, mem, 4, static_cast<std::uint64_t>(i), 1), MINIINFER_OK);
  }
  CHECK_EQ(fake.stream->sync(stream), MINIINFER_INTERNAL);
  CHECK_EQ(fake.stream->sync(stream), MINIINFER_INTERNAL);
  std::vector<std::uint8_t> out(4);
  fake.download(other, out, mem);
  CHECK_EQ(fake.stream->sync(other), MINIINFER_OK);
  CHECK_EQ(out, std::vector<std::uint8_t>(4, 0));  // the second and third fill did not run
  fake.stream->destroy(stream);
  fake.stream->destroy(other);
  fake.free(mem, 4);
}

TEST_CASE("who waits for failed work fails too") {
  FakeDevice fake("run#1=fail");
  miniinfer_stream* a = fake.make_stream();
  miniinfer_stream* b = fake.make_stream();
  miniinfer_event* event = fake.make_event();
  const miniinfer_mem mem = fake.alloc(4);
  fake.stream->fill(a, mem, 4, 0, 1);
  fake.stream->event_record(event, a);
  fake.stream->event_wait(event, b);
  CHECK_EQ(fake.stream->sync(b), MINIINFER_INTERNAL);
  std::uint32_t done = 0;
  CHECK_EQ(fake.stream->event_query(event, &done), MINIINFER_INTERNAL);
  fake.stream->event_destroy(event);
  fake.stream->destroy(a);
  fake.stream->destroy(b);
  fake.free(mem, 4);
}

TEST_CASE("a lost device stays lost, answers every call, and is torn down without a leak") {
  FakeDevice fake("copy#1=lost");
  miniinfer_stream* stream = fake.make_stream();
  miniinfer_event* event = fake.make_event();
  const miniinfer_mem mem = fake.alloc(4);
  fake.stream->fill(stream, mem, 4, 1, 1);
  const std::vector<std::uint8_t> in(4);
  CHECK_EQ(fake.upload(stream, mem, in), MINIINFER_DEVICE_LOST);
  CHECK_EQ(fake.ledger().violations, 0u);

  miniinfer_mem more{};
  std::uint32_t done = 0;
  CHECK_EQ(fake.alloc(4, &more), MINIINFER_DEVICE_LOST);
  CHECK_EQ(fake.stream->sync(stream), MINIINFER_DEVICE_LOST);
  CHECK_EQ(fake.stream->query(stream, &done), MINIINFER_DEVICE_LOST);
  CHECK_EQ(fake.stream->event_record(event, stream), MINIINFER_DEVICE_LOST);
  CHECK_EQ(fake.stream->event_sync(event), MINIINFER_DEVICE_LOST);
  CHECK_EQ(fake.api->sync(fake.device), MINIINFER_DEVICE_LOST);
  CHECK_EQ(fake.ledger().violations, 6u);
  CHECK_EQ(fake.violation(), "alloc was called on a lost device");

  fake.stream->event_destroy(event);
  fake.free(mem, 4);
  fake.stream->destroy(stream);
  const miniinfer_fake_ledger after = fake.ledger();
  CHECK_EQ(after.violations, 6u);
  CHECK_EQ(after.live_allocations + after.live_streams + after.live_events, 0u);
}

TEST_CASE("a device that was lost is well again when it is opened anew") {
  {
    FakeDevice fake("open#1=lost");
  }
  FakeDevice fake;
  CHECK_EQ(fake.opened, MINIINFER_OK);
  CHECK_EQ(fake.ledger().faults_fired, 0u);
}
