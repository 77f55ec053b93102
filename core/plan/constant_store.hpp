#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>

#include "core/device/backend_registry.hpp"
#include "core/graph/constant.hpp"
#include "miniinfer/storage.hpp"

namespace miniinfer {

// A constant where a device can read it: in place where the device reads host memory and the bytes
// are aligned, otherwise a copy. Keeps the constant and the copy alive.
class DeviceConstant {
 public:
  miniinfer_mem mem{};
  std::uint64_t size = 0;   // what a kernel reads
  std::uint64_t bytes = 0;  // taken from the device for it; 0 for one used in place

 private:
  friend class ConstantStore;
  ConstantPtr constant_;
  Storage storage_;
};
using DeviceConstantPtr = std::shared_ptr<const DeviceConstant>;

// The weights of a session on its devices, raw and packed. Each is made once and shared by all
// plans while one of them uses it. [any-thread]
class ConstantStore {
 public:
  // Who gives the memory on each device, by device id.
  using AllocatorOf = std::function<AllocatorPtr(const OpenDevice&)>;
  explicit ConstantStore(AllocatorOf allocator_of) : allocator_of_(std::move(allocator_of)) {}

  Result<DeviceConstantPtr> raw(const ConstantPtr& constant, const OpenDevicePtr& device);

  // A form of the constant of the plugin's own, named by `wanted.key`; `pack` writes it.
  using Pack = std::function<miniinfer_code(miniinfer_mem src, miniinfer_mem dst)>;
  Result<DeviceConstantPtr> packed(const ConstantPtr& constant, const OpenDevicePtr& device,
                                   const miniinfer_packed& wanted, const Pack& pack);

  // Bytes held on a device now.
  std::uint64_t bytes_on(const OpenDevice& device) const;

 private:
  using Key = std::tuple<const void*, const OpenDevice*, std::string>;  // bytes, device, form
  Result<std::shared_ptr<DeviceConstant>> make(const ConstantPtr& constant,
                                               const OpenDevicePtr& device, std::uint64_t bytes,
                                               std::uint64_t alignment, const char* tag);

  AllocatorOf allocator_of_;
  mutable std::mutex mutex_;
  std::map<Key, std::weak_ptr<const DeviceConstant>> entries_;
};

}  // namespace miniinfer
