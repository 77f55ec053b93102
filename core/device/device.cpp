#include "miniinfer/device.hpp"

#include <atomic>
#include <utility>

#include "core/device/backend_registry.hpp"
#include "core/device/device_record.hpp"

namespace miniinfer {
namespace {

DeviceRecord* plain_host_record() {
  miniinfer_device_info info{};
  info.head = MINIINFER_HEAD(miniinfer_device_info);
  info.kind = MINIINFER_KIND_CPU;
  info.flags =
      MINIINFER_DEVICE_INLINE | MINIINFER_DEVICE_FLAT_ADDRESS | MINIINFER_DEVICE_HOST_VISIBLE;
  info.dlpack_type = 1;  // the CPU
  info.memory_alignment = 64;
  std::string_view("host").copy(info.memory_domain, sizeof info.memory_domain - 1);
  std::string_view("host memory").copy(info.name, sizeof info.name - 1);
  return new DeviceRecord(nullptr, "cpu", 0, info, DeviceState::Found, "");
}

std::atomic<DeviceRecord*>& host_slot() {
  // Never destroyed, also when another has taken its place: tensors may still name it.
  static DeviceRecord* const plain = plain_host_record();
  static std::atomic<DeviceRecord*> slot{plain};
  return slot;
}

}  // namespace

DeviceRecord& host_record() noexcept { return *host_slot().load(std::memory_order_acquire); }

void set_host_record(DeviceRecord& record) noexcept {
  host_slot().store(&record, std::memory_order_release);
}

DeviceRecord& record_of(const Device& device) noexcept {
  return device.record() ? *device.record() : host_record();
}

std::string_view to_string(DeviceType type) noexcept {
  switch (type) {
    case DeviceType::CPU:
      return "cpu";
    case DeviceType::GPU:
      return "gpu";
    case DeviceType::Accelerator:
      break;
  }
  return "accelerator";
}

std::string_view to_string(DeviceState state) noexcept {
  switch (state) {
    case DeviceState::Ready:
      return "ready";
    case DeviceState::Found:
      return "found";
    case DeviceState::Unknown:
      return "unknown";
    case DeviceState::Suspect:
      return "suspect";
    case DeviceState::Lost:
      return "lost";
    case DeviceState::Absent:
      break;
  }
  return "absent";
}

Device::Device() noexcept = default;

// The host has one name, so that it compares equal however it was come by.
Device::Device(std::shared_ptr<DeviceRecord> record) noexcept
    : record_(record.get() == &host_record() ? nullptr : std::move(record)) {}

std::string_view Device::id() const noexcept { return record_of(*this).id; }
std::string_view Device::backend() const noexcept { return record_of(*this).backend_name; }
int Device::ordinal() const noexcept { return record_of(*this).ordinal; }
std::string_view Device::stable_id() const noexcept { return record_of(*this).stable_id; }
std::string_view Device::name() const noexcept { return record_of(*this).name; }
std::string_view Device::reason() const noexcept { return record_of(*this).reason(); }
std::string_view Device::bus_id() const noexcept { return record_of(*this).bus_id; }
std::string_view Device::driver() const noexcept { return record_of(*this).driver; }
std::string_view Device::memory_domain() const noexcept { return record_of(*this).domain; }
DeviceType Device::type() const noexcept {
  return static_cast<DeviceType>(record_of(*this).info.kind);
}
DeviceState Device::state() const noexcept { return record_of(*this).state(); }
int Device::rank() const noexcept { return record_of(*this).info.rank; }
std::uint64_t Device::memory_bytes() const noexcept { return record_of(*this).memory_bytes(); }
std::uint64_t Device::data_types() const noexcept { return record_of(*this).data_types(); }

Status Device::open() const { return BackendRegistry::instance().open(*this).status(); }

Result<MemoryInfo> Device::memory() const {
  // The host's memory is there without a backend.
  if (*this != Device()) {
    if (Status status = open(); !status.ok()) return status;
  }
  Result<AllocatorPtr> allocator = AllocatorFactory::get(id());
  if (!allocator) return allocator.status();
  return (*allocator)->info();
}

}  // namespace miniinfer
