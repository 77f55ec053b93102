#pragma once

// A queue of work on one device, for programs that move data themselves.
//
// Copies and fills are put on the context's own stream, in order, and may still be under way when a
// call returns: memory handed in stays valid and untouched until sync() has returned. A device that
// works inline, such as the host, is done at once; the same program is right on both.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "miniinfer/allocator.hpp"
#include "miniinfer/device.hpp"
#include "miniinfer/status.hpp"

namespace miniinfer {

// Owns its stream and keeps the device open. Move-only; one that was moved from is good for nothing
// but assignment. Every call gives DEVICE_LOST at once on a lost device, and FAILED_PRECONDITION in
// a process forked after the device was opened. [one-at-a-time]
class MINIINFER_API DeviceContext {
 public:
  // Opens the device. UNAVAILABLE with the reason where it cannot be.
  static Result<DeviceContext> create(const Device& device);
  // Works on the vendor's own stream, which stays the caller's and outlives the context.
  // UNSUPPORTED on a device that works inline.
  static Result<DeviceContext> create(const Device& device, void* native_stream);

  DeviceContext(DeviceContext&&) noexcept;
  DeviceContext& operator=(DeviceContext&&) noexcept;
  // Waits for the work of its own stream.
  ~DeviceContext();

  // Each copies from the beginning of a block; INVALID_ARGUMENT beyond its end.
  Status copy_to_device(const Block& dst, std::span<const std::byte> src);
  Status copy_to_host(std::span<std::byte> dst, const Block& src);
  // Both blocks are on this device and do not overlap.
  Status copy(const Block& dst, const Block& src, std::uint64_t bytes);
  // Repeats the low `pattern_bytes` (1, 2, 4 or 8) bytes of `pattern` over the first `bytes` bytes.
  Status fill(const Block& dst, std::uint64_t bytes, std::uint64_t pattern,
              std::uint32_t pattern_bytes = 1);

  // Waits until all work is done. Where work failed, this says so.
  Status sync();
  // Whether all work is done. Never waits.
  Result<bool> done();

  Device device() const noexcept;
  // The pool of the device's memory that everybody shares. It knows the stream: what is given back
  // in its name is free for others when the work before that is done.
  AllocatorPtr allocator() const noexcept;
  // What MemoryRequest takes. A null handle on a device that works inline.
  Stream stream() const noexcept;
  // The vendor's own stream, or null.
  void* native_stream() const noexcept;
  // An optional capability by id ("miniinfer.graph_capture/1"): a table of abi/ext, or null.
  const void* extension(std::string_view id) const noexcept;

 private:
  struct Impl;
  explicit DeviceContext(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace miniinfer
