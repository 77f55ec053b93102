#include "core/plan/constant_store.hpp"

#include <algorithm>
#include <cstring>

#include "core/device/open_device.hpp"

namespace miniinfer {

Result<std::shared_ptr<DeviceConstant>> ConstantStore::make(const ConstantPtr& constant,
                                                            const OpenDevicePtr& device,
                                                            std::uint64_t bytes,
                                                            std::uint64_t alignment,
                                                            const char* tag) {
  MemoryRequest request;
  request.bytes = bytes;
  request.alignment = alignment;
  request.lifetime = Lifetime::Weights;
  request.tag = tag;
  Result<Storage> storage = Storage::create(allocator_of_(*device), request);
  if (!storage) return storage.status();
  auto made = std::make_shared<DeviceConstant>();
  made->constant_ = constant;
  made->storage_ = std::move(*storage);
  made->mem = OpenDevice::mem(made->storage_.block());
  made->size = bytes;
  made->bytes = bytes;
  return made;
}

Result<DeviceConstantPtr> ConstantStore::raw(const ConstantPtr& constant,
                                             const OpenDevicePtr& device) {
  const std::span<const std::byte> bytes = constant->bytes;
  const std::uint64_t element = std::max<std::uint64_t>(bits(constant->type.dtype) / 8, 1);
  if (device->host_visible() && device->domain() == "host" &&
      reinterpret_cast<std::uintptr_t>(bytes.data()) % element == 0) {
    auto in_place = std::make_shared<DeviceConstant>();
    in_place->constant_ = constant;
    in_place->mem = {reinterpret_cast<std::uint64_t>(bytes.data()), 0};
    in_place->size = bytes.size();
    return DeviceConstantPtr(std::move(in_place));
  }
  const std::lock_guard lock(mutex_);
  const Key key{bytes.data(), device.get(), ""};
  if (DeviceConstantPtr found = entries_[key].lock()) return found;
  Result<std::shared_ptr<DeviceConstant>> made =
      make(constant, device, bytes.size(), 64, "weights");
  if (!made) return made.status();
  if (!bytes.empty()) {
    const Block source = host_block(const_cast<std::byte*>(bytes.data()), bytes.size());
    Status status = copy_now(*device, MINIINFER_COPY_HOST_TO_DEVICE, (*made)->storage_.block(),
                             source, bytes.size());
    if (!status.ok()) return status;
  }
  entries_[key] = *made;
  return DeviceConstantPtr(std::move(*made));
}

Result<DeviceConstantPtr> ConstantStore::packed(const ConstantPtr& constant,
                                                const OpenDevicePtr& device,
                                                const miniinfer_packed& wanted, const Pack& pack) {
  // Two constants at one address may differ in shape, and so in what their packed forms hold.
  const Key key{
      constant->bytes.data(), device.get(),
      std::string(wanted.key, strnlen(wanted.key, sizeof wanted.key)) + to_string(constant->type)};
  {
    const std::lock_guard lock(mutex_);
    if (DeviceConstantPtr found = entries_[key].lock()) return found;
  }
  Result<DeviceConstantPtr> source = raw(constant, device);
  if (!source) return source.status();
  const std::lock_guard lock(mutex_);
  if (DeviceConstantPtr found = entries_[key].lock()) return found;
  Result<std::shared_ptr<DeviceConstant>> made =
      make(constant, device, wanted.bytes, std::max<std::uint64_t>(wanted.alignment, 64),
           "packed weights");
  if (!made) return made.status();
  if (Status status = device->check(pack((*source)->mem, (*made)->mem), "packing weights");
      !status.ok()) {
    return status;
  }
  entries_[key] = *made;
  return DeviceConstantPtr(std::move(*made));
}

std::uint64_t ConstantStore::bytes_on(const OpenDevice& device) const {
  const std::lock_guard lock(mutex_);
  std::uint64_t total = 0;
  for (const auto& [key, entry] : entries_) {
    const DeviceConstantPtr constant = entry.lock();
    if (constant && std::get<1>(key) == &device) total += constant->bytes;
  }
  return total;
}

}  // namespace miniinfer
