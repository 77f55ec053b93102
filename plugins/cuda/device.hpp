#pragma once

#include <cuda.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/sdk/device.hpp"
#include "plugins/cuda/allocator.hpp"
#include "plugins/cuda/libraries.hpp"

namespace miniinfer::cuda {

struct Findings;

// Makes a context current on this thread and puts back what was current before, be it nothing: the
// caller's device is untouched, and no context comes into being on the way.
class CurrentDevice {
 public:
  explicit CurrentDevice(CUcontext context);
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  bool pushed_ = false;
};

// One GPU, opened. Its primary context stays for the process, as other users of CUDA in it may have
// it too: opening again costs nothing.
class Device final : public sdk::Device {
 public:
  struct Properties {
    int compute_capability;  // 90 for sm_90
    int multiprocessors;
    int max_threads_per_multiprocessor;
    std::size_t shared_bytes_per_block;  // with the opt-in
    std::size_t l2_bytes;
    std::string name;
  };

  // Opens the GPU with `info.bus_id`, or where probing could not see that, the one in this place of
  // the visible ones' bus order. Throws UNAVAILABLE where the runtime shows none such.
  Device(std::uint32_t ordinal, const miniinfer_device_info& info);
  ~Device() override;

  sdk::DeviceInfo info() const override { return info_; }
  sdk::OpSet ops() const override;
  std::vector<sdk::Allocator*> allocators() override;
  void sync() override;
  std::unique_ptr<sdk::Stream> make_stream(std::int32_t priority, void* native) override;
  std::unique_ptr<sdk::Event> make_event() override;
  bool measures_time() const override { return true; }
  void support(const sdk::Region& region, sdk::Choices& choices) override;
  std::unique_ptr<sdk::Kernel> make_kernel(const sdk::Region& region,
                                           const miniinfer_choice& choice) override;
  const void* extension(std::string_view id) override;

  int index() const { return index_; }  // the CUDA runtime's number of it in this process
  const Properties& properties() const { return properties_; }
  const char* id() const { return id_.c_str(); }  // "cuda:0", for messages
  CUcontext native_context() const { return context_; }

  CUDAAllocator& memory() { return *device_memory_; }
  Findings& findings();

  // cuBLASLt, cuDNN and NVRTC, opened at first use; shared by all devices.
  Libraries& libraries() const { return Libraries::instance(); }

  // Throws DEVICE_LOST once a sticky error was seen, and FAILED_PRECONDITION in a forked child.
  void check_alive() const;
  // `why` is what every later call says; the first is kept.
  void mark_lost(const char* why) noexcept;
  bool lost() const noexcept { return lost_.load(std::memory_order_acquire); }
  // Whether CUDA may be called at all: not when lost, in a forked child, or at exit.
  bool reachable() const noexcept;

  // Runs `body` with the device current. Where it throws DEVICE_LOST the device is lost from then
  // on. Everything the host calls goes through here, enqueue included.
  template <class F>
  auto on_device(F&& body) -> decltype(body()) {
    check_alive();
    try {
      const CurrentDevice current(context_);
      return body();
    } catch (const sdk::Error& error) {
      if (error.code() == MINIINFER_DEVICE_LOST) mark_lost(error.what());
      throw;
    }
  }

  // The same for destructors: skipped where CUDA may not be called, and failures are swallowed.
  template <class F>
  void release(F&& body) noexcept {
    if (!reachable()) return;
    sdk::detail::guard_quietly("releasing on a CUDA device failed", [&] { on_device(body); });
  }

  // Which libraries' handles streams of this device have made. A stream makes its own of these
  // before it is captured, since one may not be made during a capture.
  std::atomic<bool> uses_cublas_lt{false};
  std::atomic<bool> uses_cudnn{false};

 private:
  void open(const std::string& bus_id, std::uint32_t ordinal);
  void read_properties();

  std::string id_;
  int index_ = -1;
  CUcontext context_ = nullptr;
  sdk::DeviceInfo info_;
  Properties properties_{};
  std::uint32_t forks_at_open_;
  std::unique_ptr<CUDAAllocator> device_memory_;
  std::unique_ptr<CUDAAllocator> pinned_memory_;
  std::unique_ptr<Findings> findings_;

  std::atomic<bool> lost_{false};
  mutable std::mutex lost_mutex_;
  std::string lost_why_;
};

}  // namespace miniinfer::cuda
