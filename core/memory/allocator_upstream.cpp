#include "core/memory/allocator_upstream.hpp"

namespace miniinfer {
namespace {

MemoryUpstream::Properties properties_of(MemoryKind kind, const MemoryUpstream* device) {
  MemoryUpstream::Properties properties;
  properties.kind = kind;
  properties.flat_address = device == nullptr || device->properties().flat_address;
  properties.ordered = device != nullptr && device->properties().ordered;
  return properties;
}

Status no_events() { return {Code::FailedPrecondition, "memory of the host has no events"}; }

}  // namespace

AllocatorUpstream::AllocatorUpstream(AllocatorPtr allocator, MemoryKind kind,
                                     std::shared_ptr<MemoryUpstream> device)
    : allocator_(std::move(allocator)),
      device_(std::move(device)),
      properties_(properties_of(kind, device_.get())) {}

Result<Block> AllocatorUpstream::allocate_raw(std::uint64_t bytes, std::uint64_t alignment,
                                              Stream stream) noexcept {
  return allocator_->allocate(
      {.bytes = bytes, .alignment = alignment, .kind = properties_.kind, .stream = stream});
}

void AllocatorUpstream::deallocate_raw(const Block& block, Stream stream) noexcept {
  allocator_->deallocate(block, stream);
}

Result<MemoryUpstream::Event> AllocatorUpstream::create_event() noexcept {
  return device_ ? device_->create_event() : no_events();
}

void AllocatorUpstream::destroy_event(Event event) noexcept {
  if (device_) device_->destroy_event(event);
}

Status AllocatorUpstream::record(Event event, Stream stream) noexcept {
  return device_ ? device_->record(event, stream) : no_events();
}

Status AllocatorUpstream::wait(Event event, Stream stream) noexcept {
  return device_ ? device_->wait(event, stream) : no_events();
}

Result<bool> AllocatorUpstream::done(Event event) noexcept {
  return device_ ? device_->done(event) : no_events();
}

Status AllocatorUpstream::sync(Event event) noexcept {
  return device_ ? device_->sync(event) : no_events();
}

}  // namespace miniinfer
