#include "device_pool.hpp"

#include <utility>

#include "default_stream.hpp"

namespace miniinfer::torch_allocator {

Result<std::unique_ptr<DevicePool>> DevicePool::create(const Runtime& runtime,
                                                       const std::string& backend, int index) {
  const std::string name = backend + ":" + std::to_string(index);
  Result<Device> device = runtime.device(name);
  if (!device) return device.status();
  if (Status status = device->open(); !status.ok()) return status;
  Result<AllocatorPtr> allocator = AllocatorFactory::get(name + "/caching");
  if (!allocator) return allocator.status();
  return std::unique_ptr<DevicePool>(
      new DevicePool(std::move(*device), std::move(*allocator), index));
}

DevicePool::DevicePool(Device device, AllocatorPtr allocator, int index)
    : device_(std::move(device)),
      allocator_(std::move(allocator)),
      index_(index),
      known_(std::make_unique<Known[]>(kMost)) {}

Result<Stream> DevicePool::stream(void* native) {
  const std::size_t count = count_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < count; ++i) {
    if (known_[i].native == native) return known_[i].stream;
  }
  return add(native);
}

Result<Stream> DevicePool::add(void* native) {
  const std::lock_guard lock(mutex_);
  const std::size_t count = count_.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < count; ++i) {  // another thread was here meanwhile
    if (known_[i].native == native) return known_[i].stream;
  }
  if (count == kMost) {
    return Status(Code::FailedPrecondition, std::string(device_.id()) + " has " +
                                                std::to_string(kMost) +
                                                " streams, as many as are told apart");
  }
  Result<DeviceContext> context = make_context(native);
  if (!context) return context.status();
  const Stream stream = context->stream();
  contexts_.push_back(std::move(*context));
  known_[count] = {native, stream};
  count_.store(count + 1, std::memory_order_release);
  return stream;
}

// A context tells its stream to the pools of the device.
Result<DeviceContext> DevicePool::make_context(void* native) const {
  if (native == nullptr && device_.backend() == "cuda") {
    Result<void*> made = make_default_stream(index_);
    if (!made) return made.status();
    native = *made;
  }
  if (native != nullptr) {
    Result<DeviceContext> context = DeviceContext::create(device_, native);
    if (context || context.status().code() != Code::Unsupported) return context;
  }
  // A device whose vendor has no streams, such as the host: one of ours stands for the caller's.
  return DeviceContext::create(device_);
}

}  // namespace miniinfer::torch_allocator
