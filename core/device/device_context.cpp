#include "miniinfer/device_context.hpp"

#include <string>
#include <utility>

#include "core/device/backend_registry.hpp"
#include "core/device/open_device.hpp"

namespace miniinfer {

struct DeviceContext::Impl {
  OpenDevicePtr device;
  miniinfer_stream* stream = nullptr;

  ~Impl() {
    if (device) destroy_stream(*device, stream);
  }

  static Result<std::unique_ptr<Impl>> make(const Device& device, void* native) {
    Result<OpenDevicePtr> open = BackendRegistry::instance().open(device);
    if (!open) return open.status();
    auto impl = std::make_unique<Impl>();
    impl->device = std::move(*open);
    const OpenDevice& opened = *impl->device;
    if (opened.is_inline()) {
      if (!native) return impl;
      return Status(Code::Unsupported,
                    std::string(device.id()) + " works inline and has no streams");
    }
    Result<miniinfer_stream*> stream = make_stream(opened, native, "making a stream");
    if (!stream) return stream.status();
    impl->stream = *stream;
    return impl;
  }
};

DeviceContext::DeviceContext(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
DeviceContext::DeviceContext(DeviceContext&&) noexcept = default;
DeviceContext& DeviceContext::operator=(DeviceContext&&) noexcept = default;
DeviceContext::~DeviceContext() = default;

Result<DeviceContext> DeviceContext::create(const Device& device) {
  Result<std::unique_ptr<Impl>> impl = Impl::make(device, nullptr);
  if (!impl) return impl.status();
  return DeviceContext(std::move(*impl));
}

Result<DeviceContext> DeviceContext::create(const Device& device, void* native_stream) {
  if (!native_stream) {
    return Status(Code::InvalidArgument, "DeviceContext::create: the native stream is null");
  }
  Result<std::unique_ptr<Impl>> impl = Impl::make(device, native_stream);
  if (!impl) return impl.status();
  return DeviceContext(std::move(*impl));
}

Status DeviceContext::copy_to_device(const Block& dst, std::span<const std::byte> src) {
  const Block host = host_block(const_cast<std::byte*>(src.data()), src.size());
  return enqueue_copy(*impl_->device, impl_->stream, MINIINFER_COPY_HOST_TO_DEVICE, dst, host,
                      src.size());
}

Status DeviceContext::copy_to_host(std::span<std::byte> dst, const Block& src) {
  return enqueue_copy(*impl_->device, impl_->stream, MINIINFER_COPY_DEVICE_TO_HOST,
                      host_block(dst.data(), dst.size()), src, dst.size());
}

Status DeviceContext::copy(const Block& dst, const Block& src, std::uint64_t bytes) {
  return enqueue_copy(*impl_->device, impl_->stream, MINIINFER_COPY_DEVICE_TO_DEVICE, dst, src,
                      bytes);
}

Status DeviceContext::fill(const Block& dst, std::uint64_t bytes, std::uint64_t pattern,
                           std::uint32_t pattern_bytes) {
  return enqueue_fill(*impl_->device, impl_->stream, dst, bytes, pattern, pattern_bytes);
}

Status DeviceContext::sync() {
  const OpenDevice& device = *impl_->device;
  if (Status status = device.ready(); !status.ok()) return status;
  if (!impl_->stream) return {};
  return sync_stream(device, impl_->stream, "waiting for a stream");
}

Result<bool> DeviceContext::done() {
  const OpenDevice& device = *impl_->device;
  if (Status status = device.ready(); !status.ok()) return status;
  if (!impl_->stream) return true;
  std::uint32_t done = 0;
  const miniinfer_code code = device.internals->stream.query(impl_->stream, &done);
  if (Status status = device.check(code, "asking a stream"); !status.ok()) return status;
  return done != 0;
}

Device DeviceContext::device() const noexcept { return impl_->device->device; }

AllocatorPtr DeviceContext::allocator() const noexcept { return impl_->device->allocator; }

Stream DeviceContext::stream() const noexcept { return {impl_->stream}; }

void* DeviceContext::native_stream() const noexcept {
  const OpenDevice& device = *impl_->device;
  const auto native = device.internals->stream.native;
  if (!impl_->stream || !native || !device.ready().ok()) return nullptr;
  return native(impl_->stream);
}

const void* DeviceContext::extension(std::string_view id) const noexcept {
  const OpenDevice& device = *impl_->device;
  const auto extension = device.internals->api.extension;
  if (!extension || !device.ready().ok()) return nullptr;
  return extension(device.handle, std::string(id).c_str());
}

}  // namespace miniinfer
