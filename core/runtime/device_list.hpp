#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/device/backend_registry.hpp"

namespace miniinfer {

// The devices a list names, opened, in its order: "fake:0,cpu". An entry that is unknown or absent
// is passed over with a warning where a later one is usable. Empty and "auto" name the best-ranked
// device that opens, then the host. INVALID_ARGUMENT for bad syntax, UNAVAILABLE where none of the
// list is usable.
struct DeviceList {
  std::vector<OpenDevicePtr> devices;
  std::vector<std::string> warnings;
};
Result<DeviceList> open_device_list(std::string_view list);

// The built-in host device.
Result<OpenDevicePtr> open_host();

}  // namespace miniinfer
