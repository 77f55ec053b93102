#include "default_stream.hpp"

#include <dlfcn.h>

#include <string>

namespace miniinfer::torch_allocator {
namespace {

constexpr unsigned kBlocking = 0;  // CU_STREAM_DEFAULT

Status failed(const std::string& call) {
  return {Code::Unavailable, "the default stream of CUDA: " + call};
}

// The driver's functions, none of which this library links: a process that has no CUDA loads it
// too.
class Driver {
 public:
  Driver() : library_(dlopen("libcuda.so.1", RTLD_NOW)) {}

  template <class... Arguments>
  Status call(const char* name, Arguments... arguments) const {
    if (library_ == nullptr) return failed("libcuda.so.1 cannot be loaded");
    const auto function = reinterpret_cast<int (*)(Arguments...)>(dlsym(library_, name));
    if (function == nullptr) return failed("the driver has no " + std::string(name));
    const int error = function(arguments...);
    return error == 0 ? Status() : failed(name + (" gave " + std::to_string(error)));
  }

 private:
  void* library_;  // stays: PyTorch has it open too
};

}  // namespace

Result<void*> make_default_stream(int device) {
  const Driver driver;
  int handle = 0;
  void* context = nullptr;
  void* stream = nullptr;
  if (Status status = driver.call("cuInit", 0u); !status.ok()) return status;
  if (Status status = driver.call("cuDeviceGet", &handle, device); !status.ok()) return status;
  // Kept for as long as the process lives.
  if (Status status = driver.call("cuDevicePrimaryCtxRetain", &context, handle); !status.ok()) {
    return status;
  }
  if (Status status = driver.call("cuCtxPushCurrent_v2", context); !status.ok()) return status;
  Status made = driver.call("cuStreamCreate", &stream, kBlocking);
  void* popped = nullptr;
  Status back = driver.call("cuCtxPopCurrent_v2", &popped);
  if (!made.ok()) return made;
  if (!back.ok()) return back;
  return stream;
}

}  // namespace miniinfer::torch_allocator
