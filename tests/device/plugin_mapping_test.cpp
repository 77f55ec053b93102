#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "core/device/open_device.hpp"
#include "tests/device/fake_backend.hpp"
#include "tests/support/oracle.hpp"

namespace miniinfer {
namespace {

using test::Fake;
using testing::Oracle;

constexpr std::uint64_t kUnit = 65536;

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// A plugin's table that gives what the test wants.
std::uint64_t g_granularity = kUnit;
std::uint64_t g_address = kUnit;
miniinfer_physical* g_piece = nullptr;

miniinfer_virtual_memory odd_table() {
  miniinfer_virtual_memory table{};
  table.head = MINIINFER_HEAD(miniinfer_virtual_memory);
  table.granularity = [](miniinfer_device*) { return g_granularity; };
  table.reserve = [](miniinfer_device*, std::uint64_t, std::uint64_t* out) -> miniinfer_code {
    *out = g_address;
    return MINIINFER_OK;
  };
  table.create = [](miniinfer_device*, std::uint64_t, miniinfer_physical** out) -> miniinfer_code {
    *out = g_piece;
    return MINIINFER_OK;
  };
  table.set_access = [](miniinfer_device*, std::uint64_t, std::uint64_t,
                        miniinfer_access) -> miniinfer_code { return MINIINFER_OK; };
  return table;
}

}  // namespace

TEST_CASE("memory is mapped, used, and mapped elsewhere through a plugin's table") {
  Oracle oracle({.granularity = kUnit});
  MemoryUpstream& upstream = oracle.upstream();
  CHECK(upstream.properties().granularity == kUnit);
  const Stream stream = oracle.make_stream();
  const Block range = upstream.reserve_addresses(8 * kUnit).value();
  CHECK(range.bytes == 8 * kUnit);
  const MemoryUpstream::Physical a = upstream.create_physical(kUnit).value();
  const MemoryUpstream::Physical b = upstream.create_physical(2 * kUnit).value();
  CHECK(oracle.counts().live_bytes == 3 * kUnit);
  CHECK(upstream.map(range, kUnit, a, kUnit).ok());
  CHECK(upstream.map(range, 2 * kUnit, b, 2 * kUnit).ok());
  CHECK(upstream.set_access(range, kUnit, 3 * kUnit).ok());
  CHECK(oracle.write(stream, {range.handle, kUnit, 3 * kUnit, nullptr}).ok());
  oracle.sync(stream);
  CHECK(upstream.unmap(range, kUnit, 3 * kUnit).ok());
  CHECK(upstream.map(range, 0, a, kUnit).ok());
  CHECK(upstream.set_access(range, 0, kUnit).ok());
  CHECK(oracle.write(stream, {range.handle, 0, kUnit, nullptr}).ok());
  oracle.sync(stream);
  CHECK(upstream.unmap(range, 0, kUnit).ok());
  upstream.destroy_physical(a);
  upstream.destroy_physical(b);
  upstream.release_addresses(range);
  CHECK(oracle.leaks() == "");
  CHECK(oracle.violations() == "");
}

TEST_CASE("what is no whole multiple, or lies outside the range, never reaches the plugin") {
  Oracle oracle({.granularity = kUnit});
  MemoryUpstream& upstream = oracle.upstream();
  const Block range = upstream.reserve_addresses(4 * kUnit).value();
  const MemoryUpstream::Physical piece = upstream.create_physical(kUnit).value();
  const auto refused = [](const Status& status) {
    return status.code() == Code::InvalidArgument && contains(status.message(), "65536");
  };
  CHECK(refused(upstream.reserve_addresses(0).status()));
  CHECK(refused(upstream.reserve_addresses(kUnit + 1).status()));
  CHECK(refused(upstream.create_physical(100).status()));
  CHECK(refused(upstream.map(range, 1, piece, kUnit)));
  CHECK(refused(upstream.map(range, 4 * kUnit, piece, kUnit)));
  CHECK(refused(upstream.map(range, ~std::uint64_t{0} << 16, piece, kUnit)));
  CHECK(refused(upstream.set_access(range, 0, 5 * kUnit)));
  CHECK(refused(upstream.unmap(range, kUnit / 2, kUnit)));
  CHECK(oracle.violations() == "");
  upstream.destroy_physical(piece);
  upstream.release_addresses(range);
  CHECK(oracle.leaks() == "");
}

TEST_CASE("no room for a piece is told with asked and free bytes") {
  Oracle oracle({.memory = 4 * kUnit, .granularity = kUnit});
  const Status status = oracle.upstream().create_physical(8 * kUnit).status();
  CHECK(status.code() == Code::OutOfMemory);
  CHECK(contains(status.message(), "allocation of 512.0 KiB on fake:0 failed"));
  CHECK(contains(status.message(), "256.0 KiB of 256.0 KiB free"));
}

TEST_CASE("a device that cannot map says so") {
  Oracle oracle;
  MemoryUpstream& upstream = oracle.upstream();
  CHECK(upstream.properties().granularity == 0);
  CHECK(upstream.reserve_addresses(kUnit).status().code() == Code::Unsupported);
  CHECK(upstream.create_physical(kUnit).status().code() == Code::Unsupported);
  CHECK(upstream.map({}, 0, {}, kUnit).code() == Code::Unsupported);
  CHECK(upstream.set_access({}, 0, kUnit).code() == Code::Unsupported);
  CHECK(upstream.unmap({}, 0, kUnit).code() == Code::Unsupported);
  upstream.destroy_physical({&oracle});
  upstream.release_addresses({1, 0, kUnit, nullptr});
  CHECK(oracle.violations() == "");
}

TEST_CASE("what was mapped is taken apart on a lost device, too") {
  Oracle oracle({.granularity = kUnit});
  MemoryUpstream& upstream = oracle.upstream();
  const Block range = upstream.reserve_addresses(kUnit).value();
  const MemoryUpstream::Physical piece = upstream.create_physical(kUnit).value();
  REQUIRE(upstream.map(range, 0, piece, kUnit).ok());
  oracle.follow("access#1=lost");
  CHECK(upstream.set_access(range, 0, kUnit).code() == Code::DeviceLost);
  CHECK(upstream.create_physical(kUnit).status().code() == Code::DeviceLost);
  CHECK(upstream.unmap(range, 0, kUnit).ok());
  upstream.destroy_physical(piece);
  upstream.release_addresses(range);
  CHECK(oracle.leaks() == "");
  CHECK(oracle.violations() == "");
}

TEST_CASE("an odd or older table is not believed") {
  miniinfer_virtual_memory table = odd_table();
  using F = Fake<44>;
  F::backend().mapping = &table;
  REQUIRE(F::add().ok());
  OpenDevicePtr open = BackendRegistry::instance().open(F::device()).value();
  const auto upstream = [&]() -> MemoryUpstream& { return *open->internals->upstream; };
  REQUIRE(upstream().properties().granularity == kUnit);
  for (const std::uint64_t address : {std::uint64_t{0}, kUnit + 1, ~std::uint64_t{0} << 16}) {
    g_address = address;
    CHECK(upstream().reserve_addresses(2 * kUnit).status().code() == Code::Internal);
  }
  CHECK(upstream().create_physical(kUnit).status().code() == Code::Internal);

  const auto granularity_of = [&](std::uint64_t told, std::uint32_t size) {
    g_granularity = told;
    table.head.size = size;
    open.reset();
    REQUIRE(BackendRegistry::instance().close(F::device()).ok());
    open = BackendRegistry::instance().open(F::device()).value();
    return upstream().properties().granularity;
  };
  constexpr std::uint32_t kWhole = sizeof(miniinfer_virtual_memory);
  CHECK(granularity_of(kUnit, kWhole) == kUnit);
  CHECK(granularity_of(kUnit + 1, kWhole) == 0);
  CHECK(granularity_of(0, kWhole) == 0);
  CHECK(granularity_of(kUnit, kWhole - 8) == 0);
}

}  // namespace miniinfer
