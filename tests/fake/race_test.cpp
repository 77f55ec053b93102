#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "plugins/fake/race_oracle.hpp"
#include "tests/fake/fake_device.hpp"

using miniinfer::test::FakeDevice;

namespace {

struct TwoStreams {
  explicit TwoStreams(FakeDevice& device)
      : fake(device),
        a(device.make_stream()),
        b(device.make_stream()),
        event(device.make_event()),
        mem(device.alloc(64)) {}
  ~TwoStreams() {
    fake.stream->destroy(a);
    fake.stream->destroy(b);
    fake.stream->event_destroy(event);
    if (mem.handle != 0) fake.free(mem, 64);
  }
  void write(miniinfer_stream* on, std::uint64_t offset = 0, std::uint64_t bytes = 64) {
    REQUIRE_EQ(fake.stream->fill(on, {mem.handle, offset}, bytes, 0, 1), MINIINFER_OK);
  }
  void read(miniinfer_stream* on) { REQUIRE_EQ(fake.download(on, out, mem), MINIINFER_OK); }
  void order(miniinfer_stream* first, miniinfer_stream* second) {
    REQUIRE_EQ(fake.stream->event_record(event, first), MINIINFER_OK);
    REQUIRE_EQ(fake.stream->event_wait(event, second), MINIINFER_OK);
  }
  std::uint64_t violations() const { return fake.ledger().violations; }

  FakeDevice& fake;
  miniinfer_stream* a;
  miniinfer_stream* b;
  miniinfer_event* event;
  miniinfer_mem mem;
  std::vector<std::uint8_t> out = std::vector<std::uint8_t>(64);
};

}  // namespace

TEST_CASE("two streams that write and read one place are a race, whoever runs first") {
  FakeDevice fake;
  TwoStreams on(fake);
  on.write(on.a);
  on.read(on.b);
  CHECK_EQ(on.violations(), 1u);
  CHECK_NE(fake.violation().find("copy, work 1 of stream 2, reads bytes 0 to 64"),
           std::string::npos);
  CHECK_NE(fake.violation().find("fill, work 1 of stream 1, writes"), std::string::npos);
}

TEST_CASE("readers do not disturb each other, nor writers of different places") {
  FakeDevice fake;
  TwoStreams on(fake);
  on.read(on.a);
  on.read(on.b);
  fake.stream->sync(on.a);
  fake.stream->sync(on.b);
  on.write(on.a, 0, 32);
  on.write(on.b, 32, 32);
  CHECK_EQ(on.violations(), 0u);
}

TEST_CASE("an event orders, but only what came before its record") {
  FakeDevice fake;
  TwoStreams on(fake);
  on.write(on.a);
  on.order(on.a, on.b);
  on.read(on.b);
  CHECK_EQ(on.violations(), 0u);
  on.write(on.a);
  CHECK_EQ(on.violations(), 1u);  // b may still be reading
}

TEST_CASE("order passes on through a third stream") {
  FakeDevice fake;
  TwoStreams on(fake);
  miniinfer_stream* c = fake.make_stream();
  on.write(on.a);
  on.order(on.a, c);
  on.order(c, on.b);
  on.read(on.b);
  CHECK_EQ(on.violations(), 0u);
  fake.stream->destroy(c);
}

TEST_CASE("what the host waited for is before everything it does later") {
  FakeDevice fake;
  TwoStreams on(fake);
  on.write(on.a);
  REQUIRE_EQ(fake.stream->sync(on.a), MINIINFER_OK);
  on.read(on.b);
  CHECK_EQ(on.violations(), 0u);
  fake.stream->event_record(on.event, on.b);
  std::uint32_t done = 0;
  while (done == 0) REQUIRE_EQ(fake.stream->event_query(on.event, &done), MINIINFER_OK);
  on.write(on.a);
  CHECK_EQ(on.violations(), 0u);
}

TEST_CASE("memory freed at once while work may use it is a race, freed in order it is none") {
  for (const bool in_order : {false, true}) {
    FakeDevice fake;
    TwoStreams on(fake);
    on.write(on.a);
    fake.free(on.mem, 64, in_order ? on.a : nullptr);
    on.mem = {};
    CHECK_EQ(on.violations(), in_order ? 0u : 1u);
    if (!in_order)
      CHECK_NE(fake.violation().find("are freed while fill, work 1 of stream 1, writes it"),
               std::string::npos);
  }
}

TEST_CASE("memory freed on another stream than it is used on is a race") {
  FakeDevice fake;
  TwoStreams on(fake);
  on.write(on.a);
  fake.free(on.mem, 64, on.b);
  on.mem = {};
  CHECK_EQ(on.violations(), 1u);
}
