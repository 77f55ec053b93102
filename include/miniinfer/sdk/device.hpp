#pragma once

// A device: what `probe` says of it, and what it does once it is open.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/abi/device.h"
#include "miniinfer/sdk/allocator.hpp"
#include "miniinfer/sdk/choices.hpp"
#include "miniinfer/sdk/kernel.hpp"
#include "miniinfer/sdk/op_set.hpp"
#include "miniinfer/sdk/region.hpp"

namespace miniinfer::sdk {

// See miniinfer_device_info for the meaning of each. Texts that are too long are cut.
struct DeviceInfo {
  miniinfer_device_kind kind = MINIINFER_KIND_ACCELERATOR;
  std::uint32_t flags = 0;
  std::int32_t rank = 0;
  std::int32_t dlpack_type = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t dtypes = 0;
  std::uint64_t memory_alignment = 64;
  std::string stable_id;
  std::string name;
  std::string memory_domain;
  std::string bus_id;
  std::string driver;

  miniinfer_device_info to_abi() const noexcept {
    miniinfer_device_info info{};
    info.head = MINIINFER_HEAD(miniinfer_device_info);
    info.kind = kind;
    info.flags = flags;
    info.rank = rank;
    info.dlpack_type = dlpack_type;
    info.memory_bytes = memory_bytes;
    info.dtypes = dtypes;
    info.memory_alignment = memory_alignment;
    put_text(info.stable_id, stable_id);
    put_text(info.name, name);
    put_text(info.memory_domain, memory_domain);
    put_text(info.bus_id, bus_id);
    put_text(info.driver, driver);
    return info;
  }
};

// An open device. Functions may be called from several threads at once, except the destructor.
// Everything made from the device is gone before it.
class Device {
 public:
  virtual ~Device() = default;

  virtual DeviceInfo info() const = 0;
  // The operators and limits; asked for once, when the device has been opened.
  virtual OpSet ops() const = 0;
  // One for each kind of memory; they live as long as the device. Asked for once.
  virtual std::vector<Allocator*> allocators() = 0;

  virtual void sync() {}
  // Streams and events, unless the device is INLINE.
  virtual std::unique_ptr<Stream> make_stream(std::int32_t priority, void* native) {
    static_cast<void>(priority), static_cast<void>(native);
    fail(MINIINFER_UNSUPPORTED, "this device finishes its work at once and has no streams");
  }
  virtual std::unique_ptr<Event> make_event() {
    fail(MINIINFER_UNSUPPORTED, "this device finishes its work at once and has no events");
  }

  // Whether Event::elapsed_ns works.
  virtual bool measures_time() const { return false; }

  // Adds to `choices`, best first, or refuses with a reason. Cheap, changes nothing.
  virtual void support(const Region& region, Choices& choices) = 0;
  // Makes the kernel of one of those choices; copies what it needs of `region`.
  virtual std::unique_ptr<Kernel> make_kernel(const Region& region,
                                              const miniinfer_choice& choice) = 0;
  // An optional table by id ("miniinfer.graph_capture/1"), or null.
  virtual const void* extension(std::string_view id) {
    static_cast<void>(id);
    return nullptr;
  }
};

}  // namespace miniinfer::sdk
