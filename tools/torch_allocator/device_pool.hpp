#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "miniinfer/miniinfer.hpp"

namespace miniinfer::torch_allocator {

// The pool of one device, and the streams of PyTorch's that it knows. Never destroyed. [any-thread]
class DevicePool {
 public:
  // Opens "BACKEND:index".
  static Result<std::unique_ptr<DevicePool>> create(const Runtime& runtime,
                                                    const std::string& backend, int index);

  // The pool's name of a cudaStream_t, which is told to it now if it was not seen before. Takes no
  // lock for those that were.
  Result<Stream> stream(void* native);
  Allocator& allocator() const { return *allocator_; }

 private:
  // PyTorch has 32 streams of each priority, and one more.
  static constexpr std::size_t kMost = 1024;
  struct Known {
    void* native = nullptr;
    Stream stream;
  };

  DevicePool(Device device, AllocatorPtr allocator, int index);
  Result<Stream> add(void* native);
  Result<DeviceContext> make_context(void* native) const;

  Device device_;
  AllocatorPtr allocator_;
  int index_;
  std::unique_ptr<Known[]> known_;     // the first `count_` of them never change
  std::atomic<std::size_t> count_{0};  // grows, with the lock
  std::mutex mutex_;
  std::vector<DeviceContext> contexts_;  // with the lock
};

}  // namespace miniinfer::torch_allocator
