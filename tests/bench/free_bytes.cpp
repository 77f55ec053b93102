#include "tests/bench/free_bytes.hpp"

#include <dlfcn.h>

namespace miniinfer::bench {

std::uint64_t free_bytes(const std::string& bus_id) {
  static void* const library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return 0;
  const auto call = [](const char* name, auto... arguments) {
    const auto function = reinterpret_cast<int (*)(decltype(arguments)...)>(dlsym(library, name));
    return function != nullptr && function(arguments...) == 0;
  };
  void* device = nullptr;
  unsigned long long memory[3] = {};  // total, free, used
  if (!call("nvmlInit_v2") || !call("nvmlDeviceGetHandleByPciBusId_v2", bus_id.c_str(), &device) ||
      !call("nvmlDeviceGetMemoryInfo", device, &memory[0])) {
    return 0;
  }
  return memory[1];
}

}  // namespace miniinfer::bench
