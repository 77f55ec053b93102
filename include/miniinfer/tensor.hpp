#pragma once

// A tensor: elements of one type in one shape, row-major and dense, in the memory of one device.

#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "miniinfer/data_type.hpp"
#include "miniinfer/device.hpp"
#include "miniinfer/storage.hpp"

struct DLManagedTensorVersioned;  // dlpack.h

namespace miniinfer {

// Called once, on any thread, when borrowed memory is no longer used.
using Release = std::function<void()>;

// A counted handle: copies share the elements, clone() copies them. A default-made one is empty:
// type Undefined. Reads are [any-thread]; writing through mutable_bytes is the caller's to order.
class MINIINFER_API Tensor {
 public:
  Tensor() noexcept = default;

  // Owns a copy, on the host. INVALID_ARGUMENT unless the shape has as many elements as the vector.
  template <class T>
  static Result<Tensor> from(const std::vector<T>& values, Shape shape);
  // The same from raw bytes of any type, packed and row-major.
  static Result<Tensor> from_bytes(std::span<const std::byte> bytes, TensorType type);
  // Strings, on the host.
  static Result<Tensor> from_strings(std::vector<std::string> values, Shape shape);
  // Memory that was never written: fill it before it is read. Opens the device.
  static Result<Tensor> empty(DataType dtype, Shape shape, const Device& device = {});
  // The only way not to own: `data` (an address, or the device's own pointer) stays the caller's
  // until `release` has been called, which a call that fails does not do. Host addresses may have
  // any alignment. UNSUPPORTED on a device that cannot use memory of others.
  static Result<Tensor> borrow(void* data, std::uint64_t bytes, TensorType type,
                               const Device& device = {}, Release release = {});
  // Takes the tensor, even on failure. Dense row-major tensors on known devices only.
  static Result<Tensor> from_dlpack(DLManagedTensorVersioned* managed);
  // All work on it is done; the caller calls its deleter.
  Result<DLManagedTensorVersioned*> to_dlpack() const;

  explicit operator bool() const noexcept { return impl_ != nullptr; }
  const TensorType& type() const noexcept;
  DataType dtype() const noexcept { return type().dtype; }
  const Shape& shape() const noexcept { return type().shape; }
  std::uint64_t element_count() const noexcept;
  std::uint64_t byte_count() const noexcept;
  Device device() const noexcept;
  // Handle and offset on its device, and the host's address where there is one.
  Block block() const noexcept;

  // The bytes, where the host can address them; empty elsewhere and for strings. What came in
  // read-only through DLPack has no mutable bytes.
  std::span<const std::byte> bytes() const noexcept;
  std::span<std::byte> mutable_bytes() noexcept;
  std::span<const std::string> strings() const noexcept;

  // The elements in place. FAILED_PRECONDITION on a device the host cannot read, INVALID_ARGUMENT
  // when T is not exactly the type, or the memory is not aligned for it.
  template <class T>
  Result<std::span<const T>> view() const;
  // A copy of the elements, from any device. INVALID_ARGUMENT when T is not exactly the type.
  template <class T>
  Result<std::vector<T>> to_vector() const;

  // The same elements on that device: this handle where they are there already, a copy otherwise.
  Result<Tensor> to(const Device& device) const;
  // A copy that owns its memory, on the same device.
  Result<Tensor> clone() const;
  // The same elements under another shape of as many; shares the memory.
  Result<Tensor> reshape(Shape shape) const;

  struct Impl;
  explicit Tensor(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

 private:
  Status check_type(DataType wanted, std::size_t alignment) const;
  std::shared_ptr<Impl> impl_;
};

template <class T>
Result<Tensor> Tensor::from(const std::vector<T>& values, Shape shape) {
  static_assert(data_type_of<T> != DataType::Undefined);
  TensorType type{data_type_of<T>, std::move(shape)};
  if constexpr (std::is_same_v<T, bool>) {
    std::vector<std::uint8_t> bytes(values.begin(), values.end());
    return from_bytes(std::as_bytes(std::span(bytes)), std::move(type));
  } else {
    return from_bytes(std::as_bytes(std::span(values)), std::move(type));
  }
}

template <class T>
Result<std::span<const T>> Tensor::view() const {
  static_assert(data_type_of<T> != DataType::Undefined);
  if (Status status = check_type(data_type_of<T>, alignof(T)); !status.ok()) return status;
  return std::span<const T>(reinterpret_cast<const T*>(bytes().data()),
                            static_cast<std::size_t>(element_count()));
}

template <class T>
Result<std::vector<T>> Tensor::to_vector() const {
  static_assert(data_type_of<T> != DataType::Undefined);
  Result<Tensor> host = to(Device());
  if (!host) return host.status();
  if (Status status = host->check_type(data_type_of<T>, 1); !status.ok()) return status;
  std::vector<T> out(static_cast<std::size_t>(element_count()));
  if constexpr (std::is_same_v<T, bool>) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = host->bytes()[i] != std::byte{0};
  } else if (!out.empty()) {
    std::memcpy(out.data(), host->bytes().data(), out.size() * sizeof(T));
  }
  return out;
}

}  // namespace miniinfer
