#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/device/backend_registry.hpp"
#include "core/device/device_record.hpp"
#include "core/device/host_table.hpp"
#include "core/memory/allocator_factory.hpp"
#include "miniinfer/abi/plugin.h"

namespace miniinfer {

// One plugin, built in or loaded, and its devices: the only place that calls its table. Lives as
// long as the process.
class Backend {
 public:
  // `api` is the plugin's, checked by check_plugin_api. A built-in one may be used after fork.
  Backend(const miniinfer_plugin_api& api, bool builtin);

  const std::string& name() const noexcept { return name_; }
  bool builtin() const noexcept { return builtin_; }

  // Lists the devices; once, before anything else. What is odd about them is added to `notes`.
  // INCOMPATIBLE where it claims more devices than it was given room for: nothing it wrote can be
  // believed then. [loader]
  Status probe(std::vector<std::string>* notes);
  // By ordinal. Empty where the backend has none; `nothing` then says why.
  const std::vector<std::shared_ptr<DeviceRecord>>& devices() const noexcept { return devices_; }
  const std::shared_ptr<DeviceRecord>& nothing() const noexcept { return nothing_; }

  // Opens the device and registers its allocators, all of them or none. [loader]
  Result<OpenDevicePtr> open(DeviceRecord& record, AllocatorTable& table);
  // FAILED_PRECONDITION where somebody uses the device or its memory. [loader]
  Status close(DeviceRecord& record, AllocatorTable& table);
  // Closes the devices that nobody uses and, where none is left open, shuts the plugin down; the
  // next open initialises it again. [loader]
  void close_unused(AllocatorTable& table);

 private:
  Status init();
  // Turns what device_open gave into an open device; what is wrong with it is INCOMPATIBLE.
  Result<OpenDevicePtr> adopt(DeviceRecord& record, miniinfer_device* handle,
                              const miniinfer_device_api* api);
  Status register_memory(OpenDevice& device, const std::vector<miniinfer_allocator>& allocators,
                         AllocatorTable& table);

  const std::string name_;
  const bool builtin_;
  const miniinfer_plugin_api api_;
  HostTable host_;
  std::vector<std::shared_ptr<DeviceRecord>> devices_;
  std::shared_ptr<DeviceRecord> nothing_;

  bool init_called_ = false;
  Status init_status_;
  std::uint32_t init_generation_ = 0;
  miniinfer_plugin* plugin_ = nullptr;
};

}  // namespace miniinfer
