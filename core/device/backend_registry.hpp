#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/abi/plugin.h"
#include "miniinfer/allocator.hpp"
#include "miniinfer/device.hpp"
#include "miniinfer/plugin.hpp"

namespace miniinfer {

// An open device and its tables. Shared by everything that uses it. Letting go of the last pointer
// does not close a device: that is done by name, or when the last BackendRegistry::keep_open()
// goes.
class OpenDevice {
 public:
  miniinfer_device* handle = nullptr;
  const miniinfer_device_api* api = nullptr;
  miniinfer_device_info info{};
  AllocatorPtr allocator;  // of MemoryKind::Device: the shared pool
  Device device;

  bool is_inline() const { return (info.flags & MINIINFER_DEVICE_INLINE) != 0; }
  bool host_visible() const { return (info.flags & MINIINFER_DEVICE_HOST_VISIBLE) != 0; }
  std::string_view domain() const { return info.memory_domain; }
  bool lost() const;
  // Ok while the tables may be called: DEVICE_LOST after a loss, FAILED_PRECONDITION in a process
  // forked after the device was opened. Costs two loads.
  Status ready() const;
  // Turns a code a table returned into a Status, with the text of set_error and `what` before it.
  // DEVICE_LOST marks the device lost: later calls answer at once. Ok gives Ok.
  Status check(miniinfer_code code, std::string_view what) const;
  // A raw memory handle of a block.
  static miniinfer_mem mem(const Block& block) { return {block.handle, block.offset}; }

  // What the device layer keeps with it: core/device/open_device.hpp.
  struct Internals;
  std::shared_ptr<Internals> internals;
};

using OpenDevicePtr = std::shared_ptr<OpenDevice>;

// What the process knows about backends and their devices. One for the process, never destroyed.
// [any-thread]
class BackendRegistry {
 public:
  static BackendRegistry& instance();

  // Registers a backend that is part of the core, by its entry function. Idempotent by name.
  Status add_builtin(std::string_view name, miniinfer_plugin_entry entry);

  // Looks for plugins where DESIGN says (explicit places first) and loads them. Does so once for
  // each set of explicit places; decisions are kept for reports().
  void scan(const std::vector<std::filesystem::path>& explicit_places);
  Status add_file(const std::filesystem::path& file, std::string_view found_via);
  // The pre-flight, the probe helper and the load, without registering anything.
  PluginReport check_file(const std::filesystem::path& file);

  std::vector<PluginReport> reports() const;
  std::vector<std::string> searched() const;

  // Every device of every backend, best-ranked first; then one absent entry for each backend that
  // has none.
  std::vector<Device> devices() const;
  Result<Device> find(std::string_view id) const;
  Result<OpenDevicePtr> open(const Device& device);
  // Closes an open device that nobody holds any more; FAILED_PRECONDITION where somebody does. The
  // next open starts afresh.
  Status close(const Device& device);

  // Held by whoever may use devices. When the last one is let go of, the plugins' devices that
  // nobody uses are closed.
  std::shared_ptr<const void> keep_open();

 private:
  struct Impl;
  BackendRegistry();
  Impl* impl_;
};

// Process-wide settings the host table serves. Set by the first Runtime; later ones may raise
// nothing but the log level.
struct HostSettings {
  std::function<void(int level, std::string_view component, std::string_view text)> log;
  int level = MINIINFER_LOG_WARN;
  int threads = 0;
  std::filesystem::path cache;
  std::vector<std::pair<std::string, std::string>> options;
};
void configure_host(const HostSettings& settings);
int host_threads();  // of the pool in use

// The text of the last set_error on this thread, taken away.
std::string take_error_text();

}  // namespace miniinfer
