#include "miniinfer/tensor.hpp"

#include <algorithm>
#include <cinttypes>
#include <utility>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"
#include "core/device/open_device.hpp"
#include "core/tensor/tensor_impl.hpp"

namespace miniinfer {
namespace {

constexpr std::uint64_t kAlignment = 64;

using ImplPtr = std::shared_ptr<Tensor::Impl>;

// A tensor of that type without its memory. INVALID_ARGUMENT where there is no such type.
Result<ImplPtr> make_impl(std::string_view call, TensorType type, const Device& device) {
  if (type.dtype != DataType::String && bits(type.dtype) == 0) {
    return Status(Code::InvalidArgument,
                  std::string(call) + ": " + to_string(type) + " has no element type");
  }
  const Result<std::uint64_t> elements = element_count(type.shape);
  if (!elements) return elements.status().with_context(call);
  auto impl = std::make_shared<Tensor::Impl>();
  impl->elements = *elements;
  if (type.dtype != DataType::String) {
    const Result<std::uint64_t> bytes = byte_count(type.dtype, type.shape);
    if (!bytes) return bytes.status().with_context(call);
    impl->bytes = *bytes;
  }
  impl->type = std::move(type);
  impl->device = device;
  return impl;
}

Status no_strings_there(std::string_view call, const Device& device) {
  return {Code::Unsupported,
          std::string(call) + ": strings live on the host, not on " + std::string(device.id())};
}

// Gives the tensor memory of its own, never written.
Status allocate(Tensor::Impl& impl) {
  impl.memory = std::make_shared<TensorMemory>();
  if (impl.type.dtype == DataType::String) {
    if (!has_host_memory(impl.device)) return no_strings_there("Tensor", impl.device);
    impl.memory->strings.resize(static_cast<std::size_t>(impl.elements));
    return {};
  }
  MemoryRequest request{.bytes = impl.bytes, .alignment = kAlignment, .tag = "tensor"};
  AllocatorPtr allocator;
  if (impl.device == Device()) {
    // Once handed out it cannot be replaced, so it need not be looked up again.
    static const Result<AllocatorPtr> host = AllocatorFactory::get("cpu:0/caching");
    if (!host) return host.status();
    allocator = *host;
  } else {
    Result<OpenDevicePtr> open = BackendRegistry::instance().open(impl.device);
    if (!open) return open.status();
    allocator = (*open)->allocator;
    request.alignment = std::max(request.alignment, (*open)->info.memory_alignment);
    if (!has_host_memory(impl.device)) impl.memory->device = std::move(*open);
  }
  Result<Storage> storage = Storage::create(std::move(allocator), request);
  if (!storage) return storage.status();
  impl.memory->storage = std::move(*storage);
  impl.memory->block = impl.memory->storage.block();
  return {};
}

Result<Tensor> copy_to(const Tensor::Impl& from, const Device& device) {
  Result<ImplPtr> impl = make_impl("Tensor::to", from.type, device);
  if (!impl) return impl.status();
  if (Status status = allocate(**impl); !status.ok()) return status;
  TensorMemory& memory = *(*impl)->memory;
  memory.strings = from.memory->strings;
  if (Status status = copy_memory(memory, *from.memory, from.bytes); !status.ok()) return status;
  return Tensor(std::move(*impl));
}

Status empty_handle(std::string_view call) {
  return {Code::FailedPrecondition, std::string(call) + ": the tensor is empty"};
}

}  // namespace

Result<Tensor> Tensor::from_bytes(std::span<const std::byte> bytes, TensorType type) {
  constexpr std::string_view kCall = "Tensor::from_bytes";
  if (type.dtype == DataType::String) {
    return Status(Code::InvalidArgument, std::string(kCall) + ": strings are no bytes",
                  "use Tensor::from_strings");
  }
  Result<ImplPtr> impl = make_impl(kCall, std::move(type), Device());
  if (!impl) return impl.status();
  if ((*impl)->bytes != bytes.size()) {
    return Status(Code::InvalidArgument,
                  format("%s: %s takes %" PRIu64 " bytes, not %zu", kCall.data(),
                         to_string((*impl)->type).c_str(), (*impl)->bytes, bytes.size()));
  }
  if (Status status = allocate(**impl); !status.ok()) return status;
  std::byte* const out = (*impl)->memory->block.host;
  if ((*impl)->type.dtype == DataType::Bool) {
    // Kernels may rely on 0 and 1.
    std::transform(bytes.begin(), bytes.end(), out,
                   [](std::byte byte) { return std::byte{byte != std::byte{0}}; });
  } else if (!bytes.empty()) {
    std::memcpy(out, bytes.data(), bytes.size());
  }
  return Tensor(std::move(*impl));
}

Result<Tensor> Tensor::from_strings(std::vector<std::string> values, Shape shape) {
  Result<ImplPtr> impl =
      make_impl("Tensor::from_strings", {DataType::String, std::move(shape)}, Device());
  if (!impl) return impl.status();
  if ((*impl)->elements != values.size()) {
    return Status(Code::InvalidArgument,
                  format("Tensor::from_strings: %s has %" PRIu64 " elements, not %zu",
                         to_string((*impl)->type).c_str(), (*impl)->elements, values.size()));
  }
  (*impl)->memory = std::make_shared<TensorMemory>();
  (*impl)->memory->strings = std::move(values);
  return Tensor(std::move(*impl));
}

Result<Tensor> Tensor::empty(DataType dtype, Shape shape, const Device& device) {
  Result<ImplPtr> impl = make_impl("Tensor::empty", {dtype, std::move(shape)}, device);
  if (!impl) return impl.status();
  if (Status status = allocate(**impl); !status.ok()) return status;
  return Tensor(std::move(*impl));
}

Result<Tensor> Tensor::borrow(void* data, std::uint64_t bytes, TensorType type,
                              const Device& device, Release release) {
  return borrow_at({data, 0, bytes}, std::move(type), device, false, std::move(release));
}

Result<Tensor> borrow_at(const Foreign& foreign, TensorType type, const Device& device,
                         bool read_only, Release release) {
  constexpr std::string_view kCall = "Tensor::borrow";
  if (type.dtype == DataType::String) {
    return Status(Code::InvalidArgument, std::string(kCall) + ": strings cannot be borrowed",
                  "use Tensor::from_strings");
  }
  Result<ImplPtr> impl = make_impl(kCall, std::move(type), device);
  if (!impl) return impl.status();
  std::uint64_t end = 0;
  if (foreign.bytes < (*impl)->bytes || (!foreign.data && (*impl)->bytes > 0) ||
      !checked_add(foreign.offset, foreign.bytes, &end)) {
    return Status(
        Code::InvalidArgument,
        format("%s: %s takes %" PRIu64 " bytes; given are %" PRIu64 " at %p", kCall.data(),
               to_string((*impl)->type).c_str(), (*impl)->bytes, foreign.bytes, foreign.data));
  }
  auto memory = std::make_shared<TensorMemory>();
  memory->read_only = read_only;
  if (has_host_memory(device)) {
    memory->block = host_block(foreign.data, end);
  } else {
    Result<OpenDevicePtr> open = BackendRegistry::instance().open(device);
    if (!open) return open.status();
    memory->device = *open;
    if (foreign.data) {
      Result<Block> block = (*open)->internals->upstream->import_native(foreign.data, end);
      if (!block) return block.status().with_context(kCall);
      memory->imported = *block;
      memory->block = *block;
    }
  }
  if (foreign.data) {
    memory->block.bytes -= foreign.offset;
    if (memory->device)
      memory->block.offset += foreign.offset;
    else
      memory->block.handle += foreign.offset;
    if (memory->block.host) memory->block.host += foreign.offset;
  }
  memory->release = std::move(release);
  (*impl)->memory = std::move(memory);
  return Tensor(std::move(*impl));
}

const TensorType& Tensor::type() const noexcept {
  static const TensorType none;
  return impl_ ? impl_->type : none;
}

std::uint64_t Tensor::element_count() const noexcept { return impl_ ? impl_->elements : 0; }
std::uint64_t Tensor::byte_count() const noexcept { return impl_ ? impl_->bytes : 0; }
Device Tensor::device() const noexcept { return impl_ ? impl_->device : Device(); }
Block Tensor::block() const noexcept { return impl_ ? impl_->memory->block : Block(); }

std::span<const std::byte> Tensor::bytes() const noexcept {
  if (!impl_ || !impl_->memory->block.host) return {};
  return {impl_->memory->block.host, static_cast<std::size_t>(impl_->bytes)};
}

std::span<std::byte> Tensor::mutable_bytes() noexcept {
  if (!impl_ || !impl_->memory->block.host || impl_->memory->read_only) return {};
  return {impl_->memory->block.host, static_cast<std::size_t>(impl_->bytes)};
}

std::span<const std::string> Tensor::strings() const noexcept {
  if (!impl_) return {};
  return impl_->memory->strings;
}

Result<Tensor> Tensor::to(const Device& device) const {
  if (!impl_) return empty_handle("Tensor::to");
  if (device == impl_->device) return *this;
  if (share_memory(device, impl_->device)) {
    auto impl = std::make_shared<Impl>(*impl_);
    impl->device = device;
    return Tensor(std::move(impl));
  }
  return copy_to(*impl_, device);
}

Result<Tensor> Tensor::clone() const {
  if (!impl_) return empty_handle("Tensor::clone");
  return copy_to(*impl_, impl_->device);
}

Result<Tensor> Tensor::reshape(Shape shape) const {
  if (!impl_) return empty_handle("Tensor::reshape");
  const Result<std::uint64_t> elements = miniinfer::element_count(shape);
  if (!elements) return elements.status().with_context("Tensor::reshape");
  if (*elements != impl_->elements) {
    return Status(Code::InvalidArgument,
                  format("Tensor::reshape: %s has %" PRIu64 " elements, %s has %" PRIu64,
                         to_string(impl_->type).c_str(), impl_->elements, to_string(shape).c_str(),
                         *elements));
  }
  auto impl = std::make_shared<Impl>(*impl_);
  impl->type.shape = std::move(shape);
  return Tensor(std::move(impl));
}

Status Tensor::check_type(DataType wanted, std::size_t alignment) const {
  if (!impl_) return empty_handle("Tensor::view");
  if (impl_->type.dtype != wanted) {
    return {Code::InvalidArgument, "Tensor::view: the tensor is " + to_string(impl_->type) +
                                       ", not " + std::string(to_string(wanted))};
  }
  if (impl_->bytes == 0) return {};
  const std::byte* const data = impl_->memory->block.host;
  if (!data) {
    return {Code::FailedPrecondition,
            "Tensor::view: the host cannot read memory of " + std::string(impl_->device.id()),
            "copy it first: to_vector(), or to(Device())"};
  }
  if (reinterpret_cast<std::uintptr_t>(data) % alignment != 0) {
    return {Code::InvalidArgument,
            format("Tensor::view: the memory at %p is not aligned to %zu bytes",
                   static_cast<const void*>(data), alignment),
            "clone() gives aligned memory"};
  }
  return {};
}

}  // namespace miniinfer
