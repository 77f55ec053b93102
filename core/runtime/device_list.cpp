#include "core/runtime/device_list.hpp"

#include <algorithm>

#include "core/base/format.hpp"

namespace miniinfer {
namespace {

void add_unless_there(std::vector<OpenDevicePtr>& devices, OpenDevicePtr device) {
  if (std::find(devices.begin(), devices.end(), device) == devices.end()) {
    devices.push_back(std::move(device));
  }
}

Result<DeviceList> open_automatic() {
  DeviceList list;
  BackendRegistry& registry = BackendRegistry::instance();
  for (const Device& device : registry.devices()) {
    if (device.state() == DeviceState::Absent || device.state() == DeviceState::Lost) continue;
    Result<OpenDevicePtr> open = registry.open(device);
    if (open) {
      add_unless_there(list.devices, std::move(*open));
      break;
    }
    list.warnings.push_back(open.status().to_string());
  }
  Result<OpenDevicePtr> host = open_host();
  if (!host) return host.status();
  add_unless_there(list.devices, std::move(*host));
  return list;
}

}  // namespace

Result<OpenDevicePtr> open_host() {
  BackendRegistry& registry = BackendRegistry::instance();
  Result<Device> device = registry.find("cpu:0");
  if (!device) return device.status();
  return registry.open(*device);
}

Result<DeviceList> open_device_list(std::string_view text) {
  if (text.empty() || text == "auto") return open_automatic();
  BackendRegistry& registry = BackendRegistry::instance();
  DeviceList list;
  Status last;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view id = text.substr(0, comma);
    Result<Device> device = registry.find(id);
    if (!device && device.status().code() == Code::InvalidArgument) return device.status();
    Result<OpenDevicePtr> open =
        device ? registry.open(*device) : Result<OpenDevicePtr>(device.status());
    if (open) {
      add_unless_there(list.devices, std::move(*open));
    } else {
      last = open.status();
      list.warnings.push_back(last.to_string());
    }
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  if (!list.devices.empty()) return list;
  // A lost or broken device keeps its own code; anything else is a device that is not there.
  if (last.code() == Code::DeviceLost || last.code() == Code::OutOfMemory) return last;
  return Status(Code::Unavailable, std::string(last.message()), std::string(last.hint()));
}

}  // namespace miniinfer
