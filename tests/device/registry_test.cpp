#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "core/device/device_id.hpp"
#include "core/device/device_record.hpp"
#include "miniinfer/device_context.hpp"
#include "tests/device/fake_backend.hpp"

namespace miniinfer {
namespace {

using test::Fake;
using test::fake_info;
using test::FakeBackend;

BackendRegistry& registry() { return BackendRegistry::instance(); }

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::vector<std::string> ids_of(std::string_view backend) {
  std::vector<std::string> ids;
  for (const Device& device : registry().devices()) {
    if (device.backend() == backend) ids.emplace_back(device.id());
  }
  return ids;
}

}  // namespace

TEST_CASE("device ids are taken strictly") {
  CHECK(parse_device_id("cuda")->ordinal == 0);
  CHECK(parse_device_id("cuda:12")->ordinal == 12);
  CHECK(parse_device_id("cuda:GPU-1f")->stable_id == "GPU-1f");
  CHECK(parse_device_id("x_1:0000:65:00.0")->stable_id == "0000:65:00.0");
  for (const char* bad :
       {"", ":", "cuda:", ":0", "Cuda:0", "0cuda", "cuda:+1", "cuda: 1", "cuda:01", "cuda:0 ",
        " cuda", "cuda:0,cpu", "cuda:1234567890", "cu da:0", "cuda:\n", "cuda:\xc3\xa9"}) {
    CAPTURE(bad);
    const Result<DeviceId> id = parse_device_id(bad);
    CHECK(id.status().code() == Code::InvalidArgument);
  }
  CHECK(registry().find("cpu:-1").status().code() == Code::InvalidArgument);
}

TEST_CASE("the host is cpu:0, before any backend computes there") {
  CHECK(Device().id() == "cpu:0");
  CHECK(Device().memory_domain() == "host");
  CHECK(Device().memory().value().total_bytes > 0);
  CHECK(registry().find("cpu").value() == Device());
  CHECK(registry().find("cpu:0").value() == Device());
}

TEST_CASE("probing lists devices without opening any") {
  using F = Fake<0>;
  F::backend().devices = {fake_info("F-a"), fake_info("F-b")};
  REQUIRE(F::add().ok());
  CHECK(F::add().ok());  // idempotent
  CHECK(ids_of("fake0") == std::vector<std::string>{"fake0:0", "fake0:1"});
  CHECK(F::backend().inits == 0);
  CHECK(F::backend().opens == 0);
  const Device device = F::device(1);
  CHECK(device.state() == DeviceState::Found);
  CHECK(device.stable_id() == "F-b");
  CHECK(device.ordinal() == 1);
  CHECK(device.type() == DeviceType::Accelerator);
  CHECK(registry().find("fake0").value() == F::device(0));
  CHECK(registry().find("fake0:F-b").value() == device);
  const Result<Device> none = registry().find("fake0:2");
  CHECK(none.status().code() == Code::NotFound);
  CHECK(contains(none.status().message(), "fake0:0, fake0:1"));
  CHECK(registry().find("nobody:0").status().code() == Code::NotFound);
  const auto reports = registry().reports();
  const auto report = std::find_if(reports.begin(), reports.end(),
                                   [](const PluginReport& r) { return r.name == "fake0"; });
  REQUIRE(report != reports.end());
  CHECK(report->state == PluginState::BuiltIn);
  CHECK(report->version == "1.2.3");
  CHECK(report->abi == "v0.1");
}

TEST_CASE("what a plugin says is made safe: strings, kinds, alignments, duplicates") {
  using F = Fake<1>;
  miniinfer_device_info odd = fake_info("F-a");
  odd.kind = 77;
  odd.memory_alignment = 3;
  std::memset(odd.name, 'n', sizeof odd.name);  // no NUL
  F::backend().devices = {fake_info("F-a"), odd};
  REQUIRE(F::add().ok());
  CHECK(ids_of("fake1").size() == 2);
  const auto all = registry().devices();
  const auto twin =
      std::find_if(all.begin(), all.end(), [](const Device& d) { return d.id() == "fake1:1"; });
  REQUIRE(twin != all.end());
  CHECK(twin->state() == DeviceState::Absent);
  CHECK(contains(twin->reason(), "fake1:0"));
  CHECK(twin->type() == DeviceType::Accelerator);
  CHECK(twin->name() == std::string(127, 'n'));
  CHECK(record_of(*twin).info.memory_alignment == 64);
  CHECK(registry().find("fake1:1").status().code() == Code::Unavailable);
  CHECK(twin->open().code() == Code::Unavailable);
  CHECK(contains(twin->memory().status().message(), "fake1:0"));
  for (const PluginReport& report : registry().reports()) {
    if (report.name == "fake1") CHECK(report.notes.size() == 1);
  }
}

TEST_CASE("a backend that lists more devices than there was room for is refused") {
  using F = Fake<23>;
  F::backend().claimed = 1000000;
  const Status status = F::add();
  CHECK(status.code() == Code::Incompatible);
  CHECK(contains(status.message(), "1000000 devices, where there was room for 64"));
  CHECK(ids_of("fake23").empty());
}

TEST_CASE("a backend without devices is one absent entry with its reason") {
  using F = Fake<2>;
  F::backend().devices.clear();
  F::backend().state = MINIINFER_PROBE_ABSENT;
  F::backend().reason = "no driver at /dev/fake";
  REQUIRE(F::add().ok());
  CHECK(registry().devices().back().id() == "fake2");
  CHECK(registry().devices().back().ordinal() == -1);
  CHECK(registry().devices().back().state() == DeviceState::Absent);
  for (const char* id : {"fake2", "fake2:0", "fake2:F-1"}) {
    const Result<Device> device = registry().find(id);
    CHECK(device.status().code() == Code::Unavailable);
    CHECK(contains(device.status().message(), "no driver at /dev/fake"));
  }
}

TEST_CASE("a probe that fails leaves its text as the reason") {
  using F = Fake<3>;
  F::backend().probe_code = MINIINFER_INTERNAL;
  REQUIRE(F::add().ok());
  CHECK(contains(registry().find("fake3").status().message(), "the bus is on fire"));
}

TEST_CASE("devices are listed best rank first, and the rest after") {
  using F = Fake<4>;
  using G = Fake<5>;
  F::backend().devices = {fake_info("F-a", 50), fake_info("F-b", 900)};
  G::backend().devices = {fake_info("G-a", 100)};
  REQUIRE(F::add().ok());
  REQUIRE(G::add().ok());
  std::vector<int> ranks;
  bool absent = false;
  for (const Device& device : registry().devices()) {
    if (device.state() == DeviceState::Absent || device.ordinal() < 0) {
      absent = true;
      continue;
    }
    CHECK_FALSE(absent);
    ranks.push_back(device.rank());
  }
  CHECK(std::is_sorted(ranks.rbegin(), ranks.rend()));
  CHECK(ranks.front() == 900);
}

TEST_CASE("opening initialises once, opens once and registers the memory") {
  using F = Fake<6>;
  F::backend().devices = {fake_info("F-a"), fake_info("F-b")};
  REQUIRE(F::add().ok());
  const auto before = AllocatorFactory::registered();
  CHECK(std::count(before.begin(), before.end(), "fake6:0/pending") == 1);
  const OpenDevicePtr open = registry().open(F::device()).value();
  CHECK(registry().open(F::device()).value() == open);
  CHECK(registry().open(F::device(1)).ok());
  CHECK(F::backend().inits == 1);
  CHECK(F::backend().opens == 2);
  CHECK(F::device().state() == DeviceState::Ready);
  CHECK(F::device().memory_bytes() == std::uint64_t{4} << 30);  // from info, not from probe
  CHECK(open->info.memory_alignment == 256);
  CHECK(AllocatorFactory::get("fake6:0/caching").value() == open->allocator);
  const auto after = AllocatorFactory::registered();
  CHECK(std::count(after.begin(), after.end(), "fake6:0/device") == 1);
}

TEST_CASE("the first get of an allocator opens its device") {
  using F = Fake<7>;
  REQUIRE(F::add().ok());
  const AllocatorPtr allocator = AllocatorFactory::get("fake7:0").value();
  CHECK(F::backend().opens == 1);
  CHECK(F::device().memory().value().free_bytes == std::uint64_t{3} << 30);
}

TEST_CASE("a device that fails to open says why and registers nothing") {
  using F = Fake<8>;
  F::backend().open_code = MINIINFER_OUT_OF_MEMORY;
  REQUIRE(F::add().ok());
  const Status status = F::device().open();
  CHECK(status.code() == Code::OutOfMemory);
  CHECK(status.message() == "device_open on fake8:0 failed: no such card");
  const auto registered = AllocatorFactory::registered();
  CHECK(std::count(registered.begin(), registered.end(), "fake8:0/pending") == 1);
  F::backend().open_code = MINIINFER_OK;
  CHECK(F::device().open().ok());
}

TEST_CASE("a device that does not appear becomes absent with the reason") {
  using F = Fake<9>;
  F::backend().open_code = MINIINFER_UNAVAILABLE;
  REQUIRE(F::add().ok());
  const Device device = F::device();
  CHECK(device.open().code() == Code::Unavailable);
  CHECK(device.state() == DeviceState::Absent);
  CHECK(contains(device.reason(), "no such card"));
  CHECK(device.open().code() == Code::Unavailable);
  CHECK(F::backend().opens == 1);
}

TEST_CASE("an init that fails is not tried again") {
  using F = Fake<10>;
  F::backend().init_code = MINIINFER_UNAVAILABLE;
  REQUIRE(F::add().ok());
  const Device device = F::device();
  const Status first = device.open();
  CHECK(contains(first.message(), "the driver does not answer"));
  CHECK(device.open().code() == Code::Unavailable);
  CHECK(contains(device.reason(), "the driver does not answer"));
  CHECK(F::backend().inits == 1);
  CHECK(F::backend().opens == 0);
}

TEST_CASE("registering two allocators of one kind fails the opening as a whole") {
  using F = Fake<11>;
  F::backend().memory_twice = true;
  REQUIRE(F::add().ok());
  const Status status = F::device().open();
  CHECK(status.code() == Code::InvalidArgument);
  CHECK(contains(status.message(), "has an allocator already"));
  F::backend().memory_twice = false;
  CHECK(F::device().open().ok());
}

TEST_CASE("a device with memory of its own must register it, and is closed otherwise") {
  using F = Fake<12>;
  F::backend().memory = false;
  REQUIRE(F::add().ok());
  CHECK(F::device().open().code() == Code::Incompatible);
  CHECK(F::backend().closes == 1);
}

TEST_CASE("a device in the host's memory may leave memory out") {
  using F = Fake<13>;
  miniinfer_device_info info = fake_info("F-a");
  info.flags =
      MINIINFER_DEVICE_INLINE | MINIINFER_DEVICE_FLAT_ADDRESS | MINIINFER_DEVICE_HOST_VISIBLE;
  std::strcpy(info.memory_domain, "host");
  F::backend().devices = {info};
  F::backend().memory = false;
  F::backend().streams = false;
  REQUIRE(F::add().ok());
  const OpenDevicePtr open = registry().open(F::device()).value();
  CHECK(open->is_inline());
  CHECK(open->api->stream == nullptr);
  const Block block = open->allocator->allocate({.bytes = 100}).value();
  CHECK(block.host != nullptr);
  open->allocator->deallocate(block, {});
  CHECK(AllocatorFactory::get("fake13:0", MemoryKind::Host).ok());
}

TEST_CASE("a queued device without streams is refused") {
  using F = Fake<14>;
  F::backend().streams = false;
  REQUIRE(F::add().ok());
  const Status status = F::device().open();
  CHECK(status.code() == Code::Incompatible);
  CHECK(contains(status.message(), "stream"));
  CHECK(F::backend().closes == 1);
}

TEST_CASE("a table without a slot it must have is refused by that slot's name") {
  using F = Fake<15>;
  REQUIRE(F::add().ok());
  F::backend().stream_api.fill = nullptr;
  CHECK(contains(F::device().open().message(), "stream.fill"));
}

TEST_CASE("an older, shorter table is read as far as it goes") {
  using F = Fake<16>;
  REQUIRE(F::add().ok());
  miniinfer_stream_api& streams = F::backend().stream_api;
  streams.head.size = offsetof(miniinfer_stream_api, event_elapsed);
  streams.event_elapsed = reinterpret_cast<decltype(streams.event_elapsed)>(1);  // beyond the end
  const OpenDevicePtr open = registry().open(F::device()).value();
  CHECK((open->api->stream->event_elapsed == nullptr));
  CHECK((open->api->stream->event_query == streams.event_query));
}

TEST_CASE("an open device is closed when nobody holds it, and opens afresh") {
  using F = Fake<17>;
  REQUIRE(F::add().ok());
  OpenDevicePtr open = registry().open(F::device()).value();
  AllocatorPtr allocator = open->allocator;
  CHECK(registry().close(F::device()).code() == Code::FailedPrecondition);
  open.reset();
  const Status busy = registry().close(F::device());
  CHECK(busy.code() == Code::FailedPrecondition);
  CHECK(contains(busy.message(), "memory is still in use"));
  CHECK(allocator->allocate({.bytes = 8}).ok());  // still good
  allocator.reset();
  CHECK(registry().close(F::device()).ok());
  CHECK(F::backend().closes == 1);
  CHECK(F::device().state() == DeviceState::Found);
  CHECK(registry().close(F::device()).ok());  // nothing to close
  CHECK(F::device().open().ok());
  CHECK(F::backend().opens == 2);
  CHECK(F::backend().inits == 1);
}

TEST_CASE("a failed call tells its text, and an unknown code is an internal error") {
  using F = Fake<18>;
  REQUIRE(F::add().ok());
  const OpenDevicePtr open = registry().open(F::device()).value();
  CHECK(open->check(MINIINFER_OK, "a call").ok());
  F::backend().fail("line one\nline two");
  const Status status = open->check(MINIINFER_TIMEOUT, "a call");
  CHECK(status.code() == Code::Timeout);
  CHECK(status.message() == "a call on fake18:0 failed: line one\\x0aline two");
  const Status silent = open->check(MINIINFER_TIMEOUT, "a call");
  CHECK(silent.message() == "a call on fake18:0 failed: TIMEOUT, without a reason");
  const Status unknown = open->check(4711, "a call");
  CHECK(unknown.code() == Code::Internal);
  CHECK(contains(unknown.message(), "4711"));
  F::backend().fail("left over");
  CHECK(open->check(MINIINFER_OK, "a call").ok());
  CHECK_FALSE(contains(open->check(MINIINFER_TIMEOUT, "a call").message(), "left over"));
}

TEST_CASE("a device that did not answer in time is suspect until it answers again") {
  using F = Fake<20>;
  REQUIRE(F::add().ok());
  const OpenDevicePtr open = registry().open(F::device()).value();
  CHECK(open->check(MINIINFER_TIMEOUT, "waiting").code() == Code::Timeout);
  CHECK(F::device().state() == DeviceState::Suspect);
  CHECK(contains(F::device().reason(), "waiting on fake20:0 failed"));
  CHECK(open->ready().ok());
  CHECK(open->check(MINIINFER_OK, "waiting").ok());
  CHECK(F::device().state() == DeviceState::Ready);
}

TEST_CASE(
    "after a loss every call answers at once and only destroy, free and close reach the plugin") {
  using F = Fake<19>;
  REQUIRE(F::add().ok());
  FakeBackend& b = F::backend();
  {
    DeviceContext context = DeviceContext::create(F::device()).value();
    const Block block = context.allocator()->allocate({.bytes = 64}).value();
    std::vector<std::byte> bytes(64);
    b.copy_code = MINIINFER_DEVICE_LOST;
    const Status lost = context.copy_to_device(block, bytes);
    CHECK(lost.code() == Code::DeviceLost);
    CHECK(contains(lost.message(), "the link went down"));
    CHECK(F::device().state() == DeviceState::Lost);
    CHECK(contains(F::device().reason(), "the link went down"));

    const int copies = b.copies, allocs = b.allocs, frees = b.frees;
    b.copy_code = MINIINFER_OK;
    CHECK(context.copy_to_device(block, bytes).code() == Code::DeviceLost);
    CHECK(context.copy_to_host(bytes, block).code() == Code::DeviceLost);
    CHECK(context.fill(block, 64, 0).code() == Code::DeviceLost);
    CHECK(context.sync().code() == Code::DeviceLost);
    CHECK(context.done().status().code() == Code::DeviceLost);
    CHECK(context.extension("test.seven/1") == nullptr);
    CHECK(context.allocator()->allocate({.bytes = 8}).status().code() == Code::DeviceLost);
    context.allocator()->deallocate(block, {});
    CHECK(F::device().open().code() == Code::DeviceLost);
    CHECK(DeviceContext::create(F::device()).status().code() == Code::DeviceLost);
    CHECK(b.copies == copies);
    CHECK(b.allocs == allocs);
    CHECK(b.frees == frees);  // the pool keeps it until the device is closed
    CHECK(b.stream_destroys == 0);
  }
  CHECK(b.stream_destroys == 1);
  CHECK(registry().close(F::device()).ok());
  CHECK(b.closes == 1);
  CHECK(b.frees == b.allocs);
  CHECK(F::device().state() == DeviceState::Lost);  // until the process ends
  CHECK(F::device().open().code() == Code::DeviceLost);
}

TEST_CASE("a built-in backend must call itself by its name and have a whole table") {
  static miniinfer_plugin_api api{};
  const auto entry = [](miniinfer_entry* args) -> miniinfer_code {
    args->plugin = &api;
    return MINIINFER_OK;
  };
  api.head = MINIINFER_HEAD(miniinfer_plugin_api);
  api.name = "Bad Name";
  CHECK(registry().add_builtin("bad", entry).code() == Code::Incompatible);
  api.name = "bad";
  CHECK(contains(registry().add_builtin("bad", entry).message(), "no probe function"));
  CHECK(registry()
            .add_builtin("bad",
                         [](miniinfer_entry* args) -> miniinfer_code {
                           std::strcpy(args->error, "too old");
                           return MINIINFER_INCOMPATIBLE;
                         })
            .code() == Code::Incompatible);
  CHECK(registry().find("bad").status().code() == Code::NotFound);
}

}  // namespace miniinfer
