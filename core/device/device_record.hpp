#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "core/device/backend_registry.hpp"
#include "miniinfer/abi/device.h"
#include "miniinfer/device.hpp"

namespace miniinfer {

class Backend;

// What the process knows about one device, open or not. Made by probing; identity never changes.
// Lives as long as the process. [any-thread]
class DeviceRecord {
 public:
  // `info` has its strings terminated. `backend` is null for the host's memory as long as no
  // backend computes there.
  DeviceRecord(Backend* backend, std::string_view backend_name, int ordinal,
               const miniinfer_device_info& info, DeviceState state, std::string_view reason);
  // A backend without devices.
  DeviceRecord(std::string_view backend_name, DeviceState state, std::string_view reason);

  Backend* const backend;
  const std::string backend_name;
  const int ordinal;  // -1: a backend without devices
  const std::string id;
  const miniinfer_device_info info;  // as probed
  const std::string stable_id, name, bus_id, driver, domain;

  DeviceState state() const noexcept { return state_.load(std::memory_order_acquire); }
  std::string_view reason() const noexcept;
  // A lost device stays lost.
  void set_state(DeviceState state, std::string_view reason) noexcept;

  std::uint64_t memory_bytes() const noexcept { return memory_.load(std::memory_order_relaxed); }
  std::uint64_t data_types() const noexcept { return dtypes_.load(std::memory_order_relaxed); }
  // What opening found out.
  void update(const miniinfer_device_info& opened) noexcept;

  // As OpenDevice.
  Status ready() const;
  Status check(miniinfer_code code, std::string_view what);

  // The open device; null: not open. Set by the backend.
  OpenDevicePtr opened() const;
  void set_opened(OpenDevicePtr device, bool survives_fork);
  // Empties the slot and returns what was in it, if nobody else holds it; else null.
  OpenDevicePtr take_opened_if_unused();

 private:
  std::atomic<DeviceState> state_;
  std::atomic<std::uint64_t> memory_;
  std::atomic<std::uint64_t> dtypes_;
  std::atomic<bool> survives_fork_{true};
  std::atomic<std::uint32_t> generation_{0};
  std::atomic<const std::string*> reason_;
  mutable std::mutex mutex_;
  std::deque<std::string> reasons_;  // views of old ones stay valid
  OpenDevicePtr opened_;
};

// The record behind a default-made Device: "cpu:0", with or without a backend that computes there.
DeviceRecord& host_record() noexcept;
// Puts a backend's own record, which lives as long as the process, in its place.
void set_host_record(DeviceRecord& record) noexcept;
DeviceRecord& record_of(const Device& device) noexcept;

// The code, or Internal where it is none that the host knows.
Code code_of(miniinfer_code code) noexcept;

}  // namespace miniinfer
