#include "plugins/fake/backend.hpp"

#include "plugins/fake/device.hpp"

namespace miniinfer::fake {

sdk::Probe Backend::probe() {
  const Settings settings = Settings::current();
  sdk::Probe found;
  for (std::uint32_t i = 0; i < settings.devices; ++i) {
    found.devices.push_back(Device::describe(i, settings));
  }
  if (settings.devices == 0) found.reason = "fake.devices is 0";
  return found;
}

std::unique_ptr<sdk::Device> Backend::open(std::uint32_t ordinal,
                                           const miniinfer_device_info& info) {
  const Settings settings = Settings::current();
  if (ordinal >= settings.devices) {
    sdk::fail(MINIINFER_UNAVAILABLE, "no device has the id %s any more", info.stable_id);
  }
  return std::make_unique<Device>(ordinal, settings);
}

const void* Backend::extension(std::string_view id) {
  return id == MINIINFER_FAKE_LEDGER ? Ledger::api() : nullptr;
}

}  // namespace miniinfer::fake
