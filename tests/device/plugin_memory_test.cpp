#include <doctest/doctest.h>

#include <string>

#include "core/device/open_device.hpp"
#include "tests/device/fake_backend.hpp"

namespace miniinfer {
namespace {

using test::Fake;
using test::FakeBackend;

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

TEST_CASE("a plugin's memory follows the contract of every allocator") {
  using F = Fake<40>;
  REQUIRE(F::add().ok());
  const AllocatorPtr allocator = AllocatorFactory::get("fake40:0").value();
  const int calls = F::backend().allocs;
  CHECK(allocator->allocate({.bytes = 0}).value().handle == 0);
  CHECK(allocator->allocate({.bytes = 8, .alignment = 3}).status().code() == Code::InvalidArgument);
  CHECK(allocator->allocate({.bytes = 8, .kind = MemoryKind::Host}).status().code() ==
        Code::InvalidArgument);
  CHECK(allocator->allocate({.bytes = ~0ull}).status().code() == Code::OutOfMemory);
  CHECK(allocator->allocate({.bytes = (1u << 30) + 1u}).status().code() == Code::OutOfMemory);
  CHECK(F::backend().allocs == calls);  // none of these reached the driver
  const Block block = allocator->allocate({.bytes = 100}).value();
  CHECK(block.bytes == 100);
  CHECK(block.host == nullptr);
  CHECK(allocator->stats().allocated_bytes == 100);
  allocator->deallocate(block, {});
  CHECK(F::backend().frees == 1);
  CHECK(allocator->stats().allocated_bytes == 0);
  CHECK(allocator->stats().peak_allocated_bytes == 100);
  CHECK(allocator->stats().failures == 4);
}

TEST_CASE("running out of a plugin's memory tells asked, free and the plugin's own words") {
  using F = Fake<41>;
  REQUIRE(F::add().ok());
  const AllocatorPtr allocator = AllocatorFactory::get("fake41:0").value();
  F::backend().alloc_code = MINIINFER_OUT_OF_MEMORY;
  const Result<Block> block = allocator->allocate({.bytes = 3 << 20, .tag = "arena"});
  CHECK(block.status().code() == Code::OutOfMemory);
  CHECK(block.status().message() ==
        "arena: allocation of 3.0 MiB on fake41:0 failed, 3.0 GiB of 4.0 GiB free (the card is "
        "full)");
}

TEST_CASE("memory that is no memory, or is not aligned, is refused and given back") {
  using F = Fake<42>;
  REQUIRE(F::add().ok());
  const AllocatorPtr allocator = AllocatorFactory::get("fake42:0").value();
  F::backend().null_block = true;
  const Result<Block> none = allocator->allocate({.bytes = 8});
  CHECK(none.status().code() == Code::Internal);
  CHECK(contains(none.status().message(), "without memory"));
  F::backend().null_block = false;
  F::backend().misaligned = true;
  const Result<Block> odd = allocator->allocate({.bytes = 8});
  CHECK(odd.status().code() == Code::Internal);
  CHECK(contains(odd.status().message(), "not aligned"));
  CHECK(F::backend().frees == 1);
  CHECK(F::backend().blocks.empty());
}

TEST_CASE("events of a device are served to the memory layer") {
  using F = Fake<43>;
  REQUIRE(F::add().ok());
  const OpenDevicePtr open = BackendRegistry::instance().open(F::device()).value();
  MemoryUpstream& upstream = *open->internals->upstream;
  CHECK(upstream.properties().ordered);
  CHECK(upstream.properties().min_alignment == 256);
  StreamLease stream = StreamLease::take(*open).value();
  const MemoryUpstream::Event event = upstream.create_event().value();
  const Block block = upstream.allocate_raw(8, 1, {}).value();
  CHECK(enqueue_fill(*open, stream.get(), block, 8, 1, 1).ok());
  CHECK(upstream.record(event, {stream.get()}).ok());
  CHECK_FALSE(upstream.done(event).value());
  CHECK(upstream.sync(event).ok());
  CHECK(upstream.done(event).value());
  upstream.destroy_event(event);
  upstream.deallocate_raw(block, {});
}

}  // namespace miniinfer
