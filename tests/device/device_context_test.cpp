#include <doctest/doctest.h>

#include <cstring>
#include <numeric>
#include <vector>

#include "core/device/open_device.hpp"
#include "miniinfer/device_context.hpp"
#include "miniinfer/storage.hpp"
#include "tests/device/fake_backend.hpp"

namespace miniinfer {
namespace {

using test::Fake;
using test::fake_info;

std::vector<std::byte> some_bytes(std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i * 7 + 1);
  return bytes;
}

// An inline device in host memory.
template <int slot>
Device host_device() {
  using F = Fake<slot>;
  miniinfer_device_info info = fake_info("H");
  info.flags =
      MINIINFER_DEVICE_INLINE | MINIINFER_DEVICE_FLAT_ADDRESS | MINIINFER_DEVICE_HOST_VISIBLE;
  std::strcpy(info.memory_domain, "host");
  F::backend().devices = {info};
  F::backend().memory = false;
  F::backend().streams = false;
  REQUIRE(F::add().ok());
  return F::device();
}

template <int slot>
Device queued_device() {
  REQUIRE(Fake<slot>::add().ok());
  return Fake<slot>::device();
}

void check_round_trip(const Device& device) {
  DeviceContext context = DeviceContext::create(device).value();
  const std::vector<std::byte> in = some_bytes(1000);
  const Storage a = Storage::create(context.allocator(), {.bytes = 1000}).value();
  const Storage b = Storage::create(context.allocator(), {.bytes = 1000}).value();
  std::vector<std::byte> out(1000);
  CHECK(context.copy_to_device(a.block(), in).ok());
  CHECK(context.copy(b.block(), a.block(), 1000).ok());
  CHECK(context.copy_to_host(out, b.block()).ok());
  CHECK(context.sync().ok());
  CHECK(context.done().value());
  CHECK(out == in);
  for (const std::uint32_t width : {1u, 2u, 4u, 8u}) {
    CAPTURE(width);
    CHECK(context.fill(a.block(), 1000, 0x1122334455667788, width).ok());
    CHECK(context.copy_to_host(out, a.block()).ok());
    CHECK(context.sync().ok());
    for (std::size_t i = 0; i < out.size(); ++i) {
      CHECK(static_cast<unsigned>(out[i]) == 0x88 - 0x11 * (i % width));
    }
  }
}

}  // namespace

TEST_CASE("bytes come back from an inline device as they went") {
  check_round_trip(host_device<60>());
}
TEST_CASE("bytes come back from a queued device as they went") {
  check_round_trip(queued_device<61>());
}

TEST_CASE("work of a queued device may be under way until sync") {
  DeviceContext context = DeviceContext::create(queued_device<62>()).value();
  const Storage a = Storage::create(context.allocator(), {.bytes = 8}).value();
  CHECK(context.done().value());
  CHECK(context.fill(a.block(), 8, 1).ok());
  CHECK_FALSE(context.done().value());
  CHECK(context.sync().ok());
  CHECK(context.done().value());
}

TEST_CASE("a copy or fill beyond the end of a block is refused") {
  for (const Device& device : {host_device<63>(), queued_device<64>()}) {
    DeviceContext context = DeviceContext::create(device).value();
    const Storage a = Storage::create(context.allocator(), {.bytes = 8}).value();
    const Storage b = Storage::create(context.allocator(), {.bytes = 16}).value();
    std::vector<std::byte> nine(9);
    CHECK(context.copy_to_device(a.block(), nine).code() == Code::InvalidArgument);
    CHECK(context.copy_to_host(nine, a.block()).code() == Code::InvalidArgument);
    CHECK(context.copy(b.block(), a.block(), 9).code() == Code::InvalidArgument);
    CHECK(context.copy(a.block(), b.block(), 9).code() == Code::InvalidArgument);
    CHECK(context.fill(a.block(), 9, 0).code() == Code::InvalidArgument);
    CHECK(context.fill(b.block(), 9, 0, 4).code() == Code::InvalidArgument);
    CHECK(context.fill(b.block(), 9, 0, 3).code() == Code::InvalidArgument);
    CHECK(context.fill(b.block(), 0, 0, 0).code() == Code::InvalidArgument);
    CHECK(context.copy_to_device(a.block(), {}).ok());
  }
}

TEST_CASE("a context works on a stream of the application, and says so") {
  const Device device = queued_device<65>();
  int native = 0;
  DeviceContext context = DeviceContext::create(device, &native).value();
  CHECK(context.native_stream() == &native);
  CHECK(context.stream().handle != nullptr);
  CHECK(context.device() == device);
  CHECK(DeviceContext::create(device, nullptr).status().code() == Code::InvalidArgument);
  const Device host = host_device<66>();
  CHECK(DeviceContext::create(host, &native).status().code() == Code::Unsupported);
  CHECK(DeviceContext::create(host).value().stream().handle == nullptr);
}

TEST_CASE("an extension is found by its exact id") {
  DeviceContext context = DeviceContext::create(queued_device<67>()).value();
  const auto* seven = static_cast<const int*>(context.extension("test.seven/1"));
  REQUIRE(seven != nullptr);
  CHECK(*seven == 7);
  CHECK(context.extension("test.seven/2") == nullptr);
  CHECK(context.extension("test.seven") == nullptr);
}

TEST_CASE("a context destroys the stream it made, once") {
  const Device device = queued_device<68>();
  {
    DeviceContext a = DeviceContext::create(device).value();
    DeviceContext b = std::move(a);
    DeviceContext c = DeviceContext::create(device).value();
    c = std::move(b);
    CHECK(Fake<68>::backend().stream_destroys == 1);
  }
  CHECK(Fake<68>::backend().stream_creates == 2);
  CHECK(Fake<68>::backend().stream_destroys == 2);
}

TEST_CASE("streams for single copies are kept and used again") {
  const OpenDevicePtr open = BackendRegistry::instance().open(queued_device<69>()).value();
  const Storage a = Storage::create(open->allocator, {.bytes = 8}).value();
  std::vector<std::byte> bytes = some_bytes(8);
  for (int i = 0; i < 5; ++i) {
    CHECK(copy_now(*open, MINIINFER_COPY_HOST_TO_DEVICE, a.block(), host_block(bytes.data(), 8), 8)
              .ok());
  }
  CHECK(Fake<69>::backend().stream_creates == 1);
  CHECK(Fake<69>::backend().stream_destroys == 0);
}

}  // namespace miniinfer
