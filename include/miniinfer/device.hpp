#pragma once

// Devices, by name.
//
// A device id is "<backend>:<ordinal>", as in "cpu:0" or "cuda:1"; "cuda" means "cuda:0". Ordinals
// count a backend's visible devices in bus order and do not change while the process lives.

#include <cstdint>
#include <memory>
#include <string_view>

#include "miniinfer/allocator.hpp"
#include "miniinfer/status.hpp"

namespace miniinfer {

// A kind of device, never a backend's name.
enum class DeviceType : std::int32_t { CPU = 0, GPU = 1, Accelerator = 2 };

enum class DeviceState : std::int32_t {
  Ready,    // open
  Found,    // seen, not opened yet
  Unknown,  // the signs conflict; opening decides
  Suspect,  // did not answer in time
  Lost,     // broken until the process ends
  Absent,   // not there, and reason() says how that is known
};

MINIINFER_API std::string_view to_string(DeviceType type) noexcept;    // "cpu"
MINIINFER_API std::string_view to_string(DeviceState state) noexcept;  // "ready"

class DeviceRecord;  // the core's

// A name for a device. Copies share; having one opens nothing. [any-thread]
class MINIINFER_API Device {
 public:
  Device() noexcept;  // the host's memory: "cpu:0"
  explicit Device(std::shared_ptr<DeviceRecord> record) noexcept;

  std::string_view id() const noexcept;         // "cuda:0"; just "cuda" where a backend has none
  std::string_view backend() const noexcept;    // "cuda"
  int ordinal() const noexcept;                 // -1 where a backend has none
  std::string_view stable_id() const noexcept;  // the same in the next process
  std::string_view name() const noexcept;       // for people
  std::string_view reason() const noexcept;     // why it is absent or lost
  std::string_view bus_id() const noexcept;
  std::string_view driver() const noexcept;
  std::string_view memory_domain() const noexcept;
  DeviceType type() const noexcept;
  DeviceState state() const noexcept;
  int rank() const noexcept;                    // larger is used first
  std::uint64_t memory_bytes() const noexcept;  // total; 0: unknown until opened
  std::uint64_t data_types() const noexcept;    // bit n: DataType n can be computed with

  // Opens the device, if that has not happened. UNAVAILABLE with the reason where it cannot be.
  Status open() const;
  // Free and total memory now. Opens the device.
  Result<MemoryInfo> memory() const;

  DeviceRecord* record() const noexcept { return record_.get(); }
  friend bool operator==(const Device& a, const Device& b) noexcept {
    return a.record_ == b.record_;
  }

 private:
  std::shared_ptr<DeviceRecord> record_;  // null: the host
};

}  // namespace miniinfer
