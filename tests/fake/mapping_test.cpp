#include "plugins/fake/mapping.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "miniinfer/abi/ext/draft/graph_capture.h"
#include "plugins/fake/oracle.h"
#include "tests/fake/fake_device.hpp"

using miniinfer::test::FakeDevice;

namespace {

constexpr std::uint64_t kUnit = 65536;

// A device of 16 units, a stream, and a range of 8 units.
struct Mapped {
  explicit Mapped(const char* plan = "", const char* flat = "0", const char* memory = "1048576") {
    fake.close();
    fake.host.options = {
        {"memory", memory}, {"granularity", "65536"}, {"flat", flat}, {"plan", plan}};
    fake.host.allocators.clear();
    REQUIRE_EQ(fake.plugin_api->device_open(fake.plugin, 0, &fake.info, &fake.device, &fake.api),
               MINIINFER_OK);
    fake.stream = fake.api->stream;
    api = static_cast<const miniinfer_virtual_memory*>(
        fake.api->extension(fake.device, MINIINFER_EXT_VIRTUAL_MEMORY));
    oracle = static_cast<const miniinfer_fake_oracle_api*>(
        fake.api->extension(fake.device, MINIINFER_FAKE_ORACLE));
    REQUIRE(api != nullptr);
    stream = fake.make_stream();
    if (*plan == '\0') range = reserve(8);
  }
  ~Mapped() { fake.stream->destroy(stream); }

  std::uint64_t reserve(std::uint64_t units) {
    std::uint64_t address = 0;
    REQUIRE_EQ(api->reserve(fake.device, units * kUnit, &address), MINIINFER_OK);
    return address;
  }
  miniinfer_physical* create(std::uint64_t units) {
    miniinfer_physical* piece = nullptr;
    REQUIRE_EQ(api->create(fake.device, units * kUnit, &piece), MINIINFER_OK);
    return piece;
  }
  miniinfer_code map(std::uint64_t unit, miniinfer_physical* piece) {
    return api->map(fake.device, range + unit * kUnit, piece);
  }
  miniinfer_code unmap(std::uint64_t unit, std::uint64_t units) {
    return api->unmap(fake.device, range + unit * kUnit, units * kUnit);
  }
  miniinfer_code open(std::uint64_t unit, std::uint64_t units, miniinfer_access access = 1) {
    return api->set_access(fake.device, range + unit * kUnit, units * kUnit, access);
  }
  // A piece that can be used.
  miniinfer_physical* place(std::uint64_t unit, std::uint64_t units) {
    miniinfer_physical* piece = create(units);
    REQUIRE_EQ(map(unit, piece), MINIINFER_OK);
    REQUIRE_EQ(open(unit, units), MINIINFER_OK);
    return piece;
  }
  miniinfer_code touch(std::uint64_t offset, std::uint64_t bytes) {
    const miniinfer_fake_use use{{range, offset}, bytes, 1, 0};
    return oracle->touch(fake.device, stream, "touch", &use, 1);
  }
  // The last violation, and none before it.
  bool violated(const std::string& text) {
    ++expected;
    const std::string last = fake.violation(expected - 1);
    CAPTURE(last);
    CHECK(last.find(text) != std::string::npos);
    return fake.ledger().violations == expected;
  }

  FakeDevice fake;
  const miniinfer_virtual_memory* api = nullptr;
  const miniinfer_fake_oracle_api* oracle = nullptr;
  miniinfer_stream* stream = nullptr;
  std::uint64_t range = 0;
  std::uint64_t expected = 0;
};

}  // namespace

TEST_CASE("a device without a granularity cannot map, nor one that works inline") {
  FakeDevice plain;
  CHECK_EQ(plain.api->extension(plain.device, MINIINFER_EXT_VIRTUAL_MEMORY), nullptr);
  plain.close();
  plain.host.options = {{"granularity", "65536"}, {"inline", "1"}};
  REQUIRE_EQ(plain.plugin_api->device_open(plain.plugin, 0, &plain.info, &plain.device, &plain.api),
             MINIINFER_OK);
  CHECK_EQ(plain.api->extension(plain.device, MINIINFER_EXT_VIRTUAL_MEMORY), nullptr);
  plain.close();
  plain.host.options = {{"granularity", "65537"}};
  CHECK_EQ(plain.plugin_api->device_open(plain.plugin, 0, &plain.info, &plain.device, &plain.api),
           MINIINFER_INVALID_ARGUMENT);
  plain.device = nullptr;
}

TEST_CASE("contents go with the piece, across its neighbours, and new ones are NaN") {
  for (const char* flat : {"0", "1"}) {
    Mapped on("", flat);
    miniinfer_physical* a = on.place(0, 1);
    miniinfer_physical* b = on.place(1, 2);
    std::vector<std::uint8_t> in(100, 7);
    CHECK_EQ(on.fake.upload(on.stream, {on.range, kUnit - 50}, in), MINIINFER_OK);
    CHECK_EQ(on.fake.stream->sync(on.stream), MINIINFER_OK);
    CHECK_EQ(on.unmap(0, 3), MINIINFER_OK);
    CHECK_EQ(on.map(6, a), MINIINFER_OK);
    CHECK_EQ(on.map(4, b), MINIINFER_OK);
    CHECK_EQ(on.open(4, 3), MINIINFER_OK);
    std::vector<std::uint8_t> begin(52), end(52);
    std::vector<float> fresh(4);
    CHECK_EQ(on.fake.download(on.stream, begin, {on.range, 7 * kUnit - 52}), MINIINFER_OK);
    CHECK_EQ(on.fake.download(on.stream, end, {on.range, 4 * kUnit}), MINIINFER_OK);
    CHECK_EQ(on.fake.download(on.stream, fresh, {on.range, 5 * kUnit - 8}), MINIINFER_OK);
    CHECK_EQ(on.fake.stream->sync(on.stream), MINIINFER_OK);
    CHECK_EQ(begin[1], 0xFF);
    CHECK_EQ(begin[2], 7);
    CHECK_EQ(end[49], 7);
    CHECK_EQ(end[50], 0xFF);
    for (const float value : fresh) CHECK(std::isnan(value));
    CHECK_EQ(on.unmap(4, 3), MINIINFER_OK);
    on.api->destroy(on.fake.device, a);
    on.api->destroy(on.fake.device, b);
    on.api->release(on.fake.device, on.range, 8 * kUnit);
    CHECK_EQ(on.fake.ledger().violations, 0u);
    CHECK_EQ(on.fake.ledger().live_pieces + on.fake.ledger().live_ranges, 0u);
    CHECK_EQ(on.fake.ledger().peak_bytes, 3 * kUnit);
  }
}

TEST_CASE("memory that is not mapped, or has no access, cannot be touched") {
  Mapped on;
  CHECK_EQ(on.touch(0, 1), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("nothing is mapped there"));
  miniinfer_physical* piece = on.create(1);
  CHECK_EQ(on.map(0, piece), MINIINFER_OK);
  CHECK_EQ(on.touch(0, 1), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("access has not been set"));
  CHECK_EQ(on.open(0, 1), MINIINFER_OK);
  CHECK_EQ(on.touch(0, kUnit), MINIINFER_OK);
  CHECK_EQ(on.touch(1, kUnit), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("nothing is mapped there"));
  CHECK_EQ(on.touch(8 * kUnit, 1), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("past the range's end"));
  CHECK_EQ(on.open(0, 1, MINIINFER_ACCESS_NONE), MINIINFER_OK);
  CHECK_EQ(on.touch(0, 1), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("access has not been set"));
  CHECK_EQ(on.fake.stream->sync(on.stream), MINIINFER_OK);
  CHECK_EQ(on.unmap(0, 1), MINIINFER_OK);
  CHECK_EQ(on.map(1, piece), MINIINFER_OK);
  CHECK_EQ(on.touch(kUnit, 1), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("access has not been set"));  // mapping anew takes it away
}

TEST_CASE("what a driver would crash on is refused and written down") {
  Mapped on;
  miniinfer_physical* a = on.place(0, 2);
  miniinfer_physical* b = on.create(1);
  CHECK_EQ(on.map(3, a), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("is mapped at"));
  CHECK_EQ(on.map(1, b), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("something is mapped there"));
  CHECK_EQ(on.api->map(on.fake.device, on.range + 1, b), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("not in multiples of 65536"));
  CHECK_EQ(on.map(8, b), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("no range is reserved there"));
  CHECK_EQ(on.map(4, reinterpret_cast<miniinfer_physical*>(99)), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("there is none"));
  CHECK_EQ(on.unmap(0, 1), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("a part of a piece"));
  CHECK_EQ(on.unmap(1, 1), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("a part of a piece"));
  CHECK_EQ(on.unmap(0, 3), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("only 131072 are mapped there"));
  CHECK_EQ(on.open(1, 1), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("a part of a piece"));
  on.api->destroy(on.fake.device, a);
  CHECK(on.violated("it is mapped at"));
  on.api->release(on.fake.device, on.range, 8 * kUnit);
  CHECK(on.violated("1 pieces are mapped there"));
  CHECK_EQ(on.unmap(0, 2), MINIINFER_OK);
  on.api->release(on.fake.device, on.range, 7 * kUnit);
  CHECK(on.violated("no such range"));
  on.api->destroy(on.fake.device, b);
  on.api->destroy(on.fake.device, b);
  CHECK(on.violated("there is none"));
  std::uint64_t address = 0;
  CHECK_EQ(on.api->reserve(on.fake.device, 100, &address), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("reserve of 100 bytes"));
}

TEST_CASE("unmapping what a stream may still use is a race, after waiting it is none") {
  Mapped on;
  on.place(0, 1);
  CHECK_EQ(on.touch(0, 8), MINIINFER_OK);
  CHECK_EQ(on.fake.stream->sync(on.stream), MINIINFER_OK);
  CHECK_EQ(on.unmap(0, 1), MINIINFER_OK);
  on.place(1, 1);
  CHECK_EQ(on.touch(kUnit, 8), MINIINFER_OK);
  CHECK_EQ(on.unmap(1, 1), MINIINFER_OK);
  CHECK(on.violated("are unmapped while touch, work 2 of stream 1, writes it"));
}

TEST_CASE("a recording that is replayed after its memory was unmapped is found out") {
  Mapped on;
  on.place(0, 1);
  const auto* capture = static_cast<const miniinfer_graph_capture*>(
      on.fake.api->extension(on.fake.device, MINIINFER_EXT_GRAPH_CAPTURE));
  miniinfer_graph* graph = nullptr;
  CHECK_EQ(capture->begin(on.stream), MINIINFER_OK);
  CHECK_EQ(on.touch(0, 8), MINIINFER_OK);
  CHECK_EQ(capture->end(on.stream, &graph), MINIINFER_OK);
  CHECK_EQ(capture->launch(graph, on.stream), MINIINFER_OK);
  CHECK_EQ(on.fake.stream->sync(on.stream), MINIINFER_OK);
  CHECK_EQ(on.unmap(0, 1), MINIINFER_OK);
  CHECK_EQ(on.fake.ledger().violations, 0u);
  CHECK_EQ(capture->launch(graph, on.stream), MINIINFER_INVALID_ARGUMENT);
  CHECK(on.violated("nothing is mapped there"));
  capture->destroy(graph);
}

TEST_CASE("pieces take memory, addresses do not") {
  Mapped on;
  CHECK_NE(on.reserve(std::uint64_t{1} << 24), 0u);
  on.create(15);
  miniinfer_physical* more = nullptr;
  CHECK_EQ(on.api->create(on.fake.device, 2 * kUnit, &more), MINIINFER_OUT_OF_MEMORY);
  CHECK_EQ(on.fake.host.error, "a piece of 131072 bytes on fake:0 failed, 65536 of 1048576 free");
  CHECK_EQ(on.api->reserve(on.fake.device, std::uint64_t{1} << 63, &on.range),
           MINIINFER_OUT_OF_MEMORY);
  CHECK_EQ(on.fake.ledger().violations, 0u);
}

TEST_CASE("every call can be made to fail, once and from then on") {
  Mapped on("reserve#1=oom;piece#1=oom;map#1=fail;access#1+=fail;unmap#1=fail");
  CHECK_EQ(on.api->reserve(on.fake.device, 8 * kUnit, &on.range), MINIINFER_OUT_OF_MEMORY);
  on.range = on.reserve(8);
  miniinfer_physical* piece = nullptr;
  CHECK_EQ(on.api->create(on.fake.device, kUnit, &piece), MINIINFER_OUT_OF_MEMORY);
  piece = on.create(1);
  CHECK_EQ(on.map(0, piece), MINIINFER_INTERNAL);
  CHECK_EQ(on.map(0, piece), MINIINFER_OK);
  CHECK_EQ(on.open(0, 1), MINIINFER_INTERNAL);
  CHECK_EQ(on.open(0, 1), MINIINFER_INTERNAL);
  CHECK_EQ(on.unmap(0, 1), MINIINFER_INTERNAL);
  CHECK_EQ(on.unmap(0, 1), MINIINFER_OK);
  on.api->destroy(on.fake.device, piece);
  on.api->release(on.fake.device, on.range, 8 * kUnit);
  CHECK_EQ(on.fake.ledger().violations, 0u);
  CHECK_EQ(on.fake.ledger().faults_fired, 6u);
}

TEST_CASE("a device of 7 GB fits into a small process, for only what is used costs memory") {
  constexpr std::uint64_t kPieces = 7;
  constexpr std::uint64_t kUnits = (std::uint64_t{1} << 30) / kUnit;
  const auto resident = [] {
    std::ifstream statm("/proc/self/statm");
    std::uint64_t total = 0, pages = 0;
    statm >> total >> pages;
    return pages * 4096;
  };
  const std::uint64_t before = resident();
  Mapped on("", "0", "8589934592");
  on.range = on.reserve(kPieces * kUnits);
  for (std::uint64_t i = 0; i < kPieces; ++i) on.place(i * kUnits, kUnits);
  std::vector<std::uint8_t> out(8);
  CHECK_EQ(on.fake.download(on.stream, out, {on.range, 3 * kUnits * kUnit - 4}), MINIINFER_OK);
  CHECK_EQ(on.fake.stream->sync(on.stream), MINIINFER_OK);
  CHECK_EQ(out, std::vector<std::uint8_t>(8, 0xFF));
  CHECK_LT(resident(), before + (std::uint64_t{64} << 20));
}
