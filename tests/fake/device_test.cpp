#include "plugins/fake/device.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "tests/fake/fake_device.hpp"

using miniinfer::test::FakeDevice;

TEST_CASE("the fake device says what it is") {
  FakeDevice fake;
  CHECK_EQ(fake.info.kind, MINIINFER_KIND_ACCELERATOR);
  CHECK_EQ(fake.info.flags, 0u);
  CHECK_LT(fake.info.rank, 0);
  CHECK_EQ(fake.info.memory_bytes, 1048576u);
  CHECK_EQ(std::string(fake.info.memory_domain), "fake:0");
  CHECK_EQ(std::string(fake.info.stable_id), "fake-0");
}

TEST_CASE("as many devices are found as the user asks for") {
  const auto count = [](const char* devices) {
    FakeDevice fake;
    fake.host.options["devices"] = devices;
    miniinfer_device_info room[3] = {};
    miniinfer_device_info* infos[] = {&room[0], &room[1], &room[2]};
    for (auto& info : room) info.head = MINIINFER_HEAD(miniinfer_device_info);
    miniinfer_probe probe{};
    probe.head = MINIINFER_HEAD(miniinfer_probe);
    probe.capacity = 3;
    probe.devices = infos;
    const miniinfer_code code = fake.plugin_api->probe(fake.host.table(), &probe);
    if (code != MINIINFER_OK) return -code;
    if (probe.count == 0) CHECK_EQ(std::string(probe.reason), "fake.devices is 0");
    return static_cast<int>(probe.count);
  };
  CHECK_EQ(count("0"), 0);
  CHECK_EQ(count("2"), 2);
  CHECK_EQ(count("1000"), 3);
  CHECK_EQ(count("many"), -MINIINFER_INVALID_ARGUMENT);
  CHECK_EQ(count("-1"), -MINIINFER_INVALID_ARGUMENT);
}

TEST_CASE("an option comes before the variable and the variable before the default") {
  ::setenv("MINIINFER_FAKE_PLAN", "open#1=fail", 1);
  {
    CHECK_EQ(FakeDevice("alloc#9=oom").opened, MINIINFER_OK);
  }
  FakeDevice fake;
  fake.close();
  fake.host.options.clear();
  CHECK_EQ(fake.plugin_api->device_open(fake.plugin, 0, &fake.info, &fake.device, &fake.api),
           MINIINFER_INTERNAL);
  ::unsetenv("MINIINFER_FAKE_PLAN");
}

TEST_CASE("the ledger counts and outlives the device") {
  FakeDevice fake;
  miniinfer_stream* stream = fake.make_stream();
  const miniinfer_mem a = fake.alloc(100);
  const miniinfer_mem b = fake.alloc(50);
  fake.free(a, 100);
  const std::vector<std::uint8_t> in(7);
  fake.upload(stream, b, in);
  fake.stream->fill(stream, b, 4, 0, 4);
  fake.stream->sync(stream);
  fake.free(b, 50);
  fake.stream->destroy(stream);
  fake.close();
  const miniinfer_fake_ledger counts = fake.ledger();
  CHECK_EQ(counts.allocations, 2u);
  CHECK_EQ(counts.peak_bytes, 150u);
  CHECK_EQ(counts.live_bytes, 0u);
  CHECK_EQ(counts.copies, 1u);
  CHECK_EQ(counts.copied_bytes, 7u);
  CHECK_EQ(counts.fills, 1u);
  CHECK_EQ(counts.syncs, 1u);
  CHECK_EQ(fake.host.logged,
           std::vector<std::string>{"2 fake:0 closed balanced, 2 allocations, 0 launches"});
}

TEST_CASE("a device closed with something left says so") {
  FakeDevice fake;
  fake.alloc(100);
  fake.close();
  CHECK_EQ(fake.ledger().live_allocations, 1u);
  REQUIRE_EQ(fake.host.logged.size(), 1);
  CHECK_NE(fake.host.logged[0].find("4 fake:0 closed with 1 allocations and 0 pieces (100 bytes)"),
           std::string::npos);
}

TEST_CASE("an extension has exactly its id") {
  FakeDevice fake;
  CHECK_NE(fake.api->extension(fake.device, "miniinfer.fake.ledger/1"), nullptr);
  CHECK_EQ(fake.api->extension(fake.device, "miniinfer.fake.ledger/1x"), nullptr);
  CHECK_EQ(fake.api->extension(fake.device, "miniinfer.fake.ledger"), nullptr);
}
