#include "core/memory/allocator_spec.hpp"

#include <doctest/doctest.h>

#include "miniinfer/text.hpp"

namespace miniinfer {
namespace {

using Kind = AllocatorSpec::Kind;

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

Status refused(std::string_view name) {
  const Status status = parse_allocator_spec(name).status();
  CHECK(status.code() == Code::InvalidArgument);
  return status;
}

}  // namespace

TEST_CASE("a device alone asks for nothing around it") {
  const AllocatorSpec spec = parse_allocator_spec("fake").value();
  CHECK(spec.device == "fake:0");
  CHECK(spec.layers.empty());
  CHECK(spec.text == "fake:0");
}

TEST_CASE("layers come from left to right, each with its options") {
  const AllocatorSpec spec =
      parse_allocator_spec(
          "fake:1/caching?limit=4GiB&slack=1.25&thread_cache=8MiB&virtual_memory=off"
          "/limit?bytes=1.5K/tracking")
          .value();
  REQUIRE(spec.layers.size() == 3);
  CHECK(spec.layers[0].kind == Kind::Caching);
  CHECK(spec.layers[0].pool.limit == std::uint64_t{4} << 30);
  CHECK(spec.layers[0].pool.slack == 1.25);
  CHECK(spec.layers[0].pool.thread_cache_bytes == std::uint64_t{8} << 20);
  CHECK_FALSE(spec.layers[0].pool.virtual_memory);
  CHECK(spec.layers[1].kind == Kind::Limit);
  CHECK(spec.layers[1].bytes == 1536);
  CHECK(spec.layers[2].kind == Kind::Tracking);
  CHECK(spec.layers[2].history == 0);
}

TEST_CASE("a tracker keeps as many events as it is told, a pool announces its blocks") {
  const AllocatorSpec spec =
      parse_allocator_spec("fake/pool?annotate=on/tracking?history=0100").value();
  CHECK(spec.layers[0].pool.annotate);
  CHECK(spec.layers[1].history == 100);
  CHECK(contains(spec.text, "tracking?history=100"));
}

TEST_CASE("a pool has no threads' caches") {
  const AllocatorSpec spec = parse_allocator_spec("fake/pool?slack=1.5").value();
  CHECK(spec.layers[0].kind == Kind::Pool);
  CHECK(spec.layers[0].pool.thread_cache_bytes == 0);
  CHECK(
      contains(refused("fake/pool?thread_cache=1M").hint(), "limit=SIZE, slack=1..1000, virtual"));
}

TEST_CASE("names that mean the same have one text") {
  const auto text = [](std::string_view name) { return parse_allocator_spec(name).value().text; };
  CHECK(text("fake/caching?slack=1.50&limit=1024MiB") ==
        text("fake:0/caching?limit=1GiB&slack=1.5"));
  CHECK(text("fake/caching?") == text("fake/caching"));
  CHECK(text("fake/caching?limit=1GiB") != text("fake/caching?limit=2GiB"));
  CHECK(text("fake/caching/tracking") != text("fake/tracking/caching"));
}

TEST_CASE("what is unknown is refused with what there is") {
  CHECK(contains(refused("fake:0/cacheing").message(), "'cacheing'"));
  CHECK(contains(refused("fake:0/cacheing").hint(), "caching, pool, limit, tracking"));
  const Status option = refused("fake:0/caching?size=1");
  CHECK(contains(option.message(), "'size'"));
  CHECK(contains(option.hint(),
                 "limit=SIZE, slack=1..1000, thread_cache=SIZE, virtual_memory=on|off"));
  CHECK(contains(refused("fake/caching?limit=4GB").message(), "'4GB' is no value for limit=SIZE"));
  CHECK(contains(refused("fake/caching?limit=1&limit=2").message(), "twice"));
  CHECK(contains(refused("fake/limit").message(), "missing"));
  CHECK(contains(refused("fake/tracking?x=1").hint(), "history=0..16777216"));
  CHECK(contains(refused("fake?limit=1").message(), "without a preset"));
  for (const char* name :
       {"fake/", "fake//caching", "fake/caching/", "fake/caching?limit",
        "fake/caching?limit=", "fake/caching?limit=-1", "fake/caching?limit=1e3",
        "fake/caching?slack=0.9", "fake/caching?slack=nan", "fake/caching?slack=1x",
        "fake/caching?virtual_memory=yes", "fake/caching?limit=9223372036854775808", "fake/Caching",
        "fake/tracking?history=-1", "fake/tracking?history=16777217", "fake/pool?annotate=yes"}) {
    CAPTURE(name);
    (void)refused(name);
  }
}

TEST_CASE("sizes are whole numbers of bytes, whatever their unit") {
  CHECK(parse_bytes("0") == 0);
  CHECK(parse_bytes("7B") == 7);
  CHECK(parse_bytes("9223372036854775807") == 9223372036854775807u);
  CHECK(parse_bytes("1.5GiB") == 1610612736u);
  CHECK(parse_bytes("2T") == std::uint64_t{2} << 40);
  CHECK(parse_bytes("8388607T") == std::uint64_t{8388607} << 40);
  for (const char* text : {"", "K", ".5", "1.", "1.2.3", "1 K", "1KB", "1k", "1Ki", "0x10",
                           "8388608T", "18446744073709551616"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_bytes(text));
  }
}

TEST_CASE("pool options alone are read the same way, in the owner's name") {
  CHECK(parse_pool_options("limit=2M", "MINIINFER_MEMORY").value().limit == 2 << 20);
  CHECK(parse_pool_options("", "MINIINFER_MEMORY").value().limit == PoolOptions().limit);
  const Status status = parse_pool_options("slak=2", "MINIINFER_MEMORY").status();
  CHECK(status.message() == "MINIINFER_MEMORY: there is no option 'slak'");
}

}  // namespace miniinfer
