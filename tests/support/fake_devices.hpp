#pragma once

// Devices of the fake backend in a test of the core, from the built plugin and through the
// registry.

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "core/device/backend_registry.hpp"
#include "plugins/fake/ledger.h"

namespace miniinfer::testing {

// Makes fake:0 to fake:31 known. Idempotent.
inline void add_fake_backend() {
  const char* build = std::getenv("MINIINFER_BUILD");
  REQUIRE_MESSAGE(build != nullptr, "run this by `meson test`, or set MINIINFER_BUILD");
  setenv("MINIINFER_FAKE_DEVICES", "32", 1);
  const Status added = BackendRegistry::instance().add_file(
      std::filesystem::path(build) / "plugins" / "libminiinfer_fake.so", "a test");
  REQUIRE_MESSAGE(added.ok(), added.to_string());
}

// One device, opened with a fault plan (plugins/fake/fault_plan.hpp) and closed at the end, when
// its books must balance. A lost device stays lost: a test that loses one has its own ordinal.
class FakeDevice {
 public:
  explicit FakeDevice(int ordinal = 0, const std::string& plan = "")
      : id("fake:" + std::to_string(ordinal)), ordinal_(static_cast<std::uint32_t>(ordinal)) {
    add_fake_backend();
    setenv("MINIINFER_FAKE_PLAN", plan.c_str(), 1);
    device = BackendRegistry::instance().find(id).value();
    const OpenDevicePtr made = BackendRegistry::instance().open(device).value();
    books_ = static_cast<const miniinfer_fake_ledger_api*>(
        made->api->extension(made->handle, MINIINFER_FAKE_LEDGER));
    REQUIRE(books_ != nullptr);
  }
  FakeDevice(const FakeDevice&) = delete;
  FakeDevice& operator=(const FakeDevice&) = delete;
  ~FakeDevice() {
    const Status closed = BackendRegistry::instance().close(device);
    CHECK_MESSAGE(closed.ok(), closed.to_string());
    const miniinfer_fake_ledger left = ledger();
    CHECK(left.live_allocations == 0);
    CHECK(left.live_streams == 0);
    CHECK(left.live_events == 0);
    CHECK(left.live_kernels == 0);
    const char* violation = books_->violation(ordinal_, 0);
    CHECK_MESSAGE(violation == nullptr, violation);
  }

  OpenDevicePtr open() const { return BackendRegistry::instance().open(device).value(); }
  miniinfer_fake_ledger ledger() const {
    miniinfer_fake_ledger counts{};
    counts.head = {sizeof counts, MINIINFER_ABI_MINOR};
    CHECK(books_->read(ordinal_, &counts) == MINIINFER_OK);
    return counts;
  }

  const std::string id;
  Device device;

 private:
  std::uint32_t ordinal_;
  const miniinfer_fake_ledger_api* books_ = nullptr;
};

}  // namespace miniinfer::testing
