#pragma once

// A backend: what a plugin brings. An author derives from it and names the class in
// MINIINFER_PLUGIN.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/abi/plugin.h"
#include "miniinfer/sdk/device.hpp"

namespace miniinfer::sdk {

// What a look around the machine gave. With devices it is FOUND, without it is ABSENT, unless the
// signs conflict (then say MINIINFER_PROBE_UNKNOWN). `reason` says how it is known that there is
// no device: "no /dev/acme0".
struct Probe {
  std::vector<DeviceInfo> devices;
  std::string reason;
  std::string driver;
  bool unknown = false;
};

// Besides the functions below a backend has three static members:
//
//   static constexpr const char* kVersion = "1.0.0";
//   static constexpr const char* kVendor = "Acme, support@acme.example";
//   static sdk::Probe probe();  // cheap, opens no device, safe before fork
//
// The constructor is the plugin's `init`: it runs once, before the first device is opened.
class Backend {
 public:
  virtual ~Backend() = default;
  // Opens the device `probe` listed in place `ordinal`; throws Error(MINIINFER_UNAVAILABLE) when
  // none with info.stable_id appears. [loader]
  virtual std::unique_ptr<Device> open(std::uint32_t ordinal,
                                       const miniinfer_device_info& info) = 0;
  // An optional table by id, or null. [any-thread]
  virtual const void* extension(std::string_view id) {
    static_cast<void>(id);
    return nullptr;
  }
};

}  // namespace miniinfer::sdk
