#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/device/backend_registry.hpp"
#include "miniinfer/tensor.hpp"

namespace miniinfer {

// The elements that several tensors may share, and who is told when nobody uses them any more.
struct TensorMemory {
  TensorMemory() = default;
  TensorMemory(const TensorMemory&) = delete;
  TensorMemory& operator=(const TensorMemory&) = delete;
  ~TensorMemory();

  Block block;           // where the elements are
  Storage storage;       // owns `block`; empty where it is borrowed
  OpenDevicePtr device;  // that has it; null: the host
  Block imported;        // what the device's import named; bytes 0: nothing
  bool read_only = false;
  Release release;                   // of borrowed memory
  std::vector<std::string> strings;  // of a String tensor, instead of `block`
};

struct Tensor::Impl {
  TensorType type;
  Device device;
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;
  std::shared_ptr<TensorMemory> memory;
};

// Whether the device's memory is the host's own.
bool has_host_memory(const Device& device) noexcept;
// Whether the two need no copy between them.
bool share_memory(const Device& a, const Device& b) noexcept;

// Memory of the application: an address, or the device's own object.
struct Foreign {
  void* data = nullptr;
  std::uint64_t offset = 0;  // where the elements begin
  std::uint64_t bytes = 0;   // from there on
};
// As Tensor::borrow.
Result<Tensor> borrow_at(const Foreign& foreign, TensorType type, const Device& device,
                         bool read_only, Release release);

// Copies the first `bytes` bytes between any two devices; done when it returns.
Status copy_memory(const TensorMemory& dst, const TensorMemory& src, std::uint64_t bytes);

}  // namespace miniinfer
