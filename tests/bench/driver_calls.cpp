#include "tests/bench/driver_calls.hpp"

#include <dlfcn.h>

#include <chrono>
#include <cstdint>
#include <string_view>

namespace miniinfer::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Result = int;  // CUresult
using Handle = void*;

// The driver's functions that are replaced.
Result (*real_launch)(Handle, Handle) = nullptr;
Result (*real_wait)(Handle) = nullptr;
Result (*real_find)(const char*, void**, int, std::uint64_t, void*) = nullptr;
Result (*real_find_old)(const char*, void**, int, std::uint64_t) = nullptr;
// And those that are not, of the library that the launch is from.
Result (*current_context)(Handle*) = nullptr;
Result (*push_context)(Handle) = nullptr;
Result (*pop_context)(Handle*) = nullptr;

void* real_dlsym(void* library, const char* name) {
  using Function = void* (*)(void*, const char*);
  static const Function function = [] {
    void* found = nullptr;
    for (const char* version : {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"}) {
      if (found == nullptr) found = dlvsym(RTLD_NEXT, "dlsym", version);
    }
    return reinterpret_cast<Function>(found);
  }();
  return function == nullptr ? nullptr : function(library, name);
}

double since(Clock::time_point begin) {
  return std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
}

Result launch(Handle graph, Handle stream) {
  DriverCalls& calls = driver_calls();
  const auto begin = Clock::now();
  const Result result = real_launch(graph, stream);
  calls.launch_ns += since(begin);
  ++calls.launches;
  calls.graph = graph;
  calls.stream = stream;
  if (calls.context == nullptr && current_context != nullptr) current_context(&calls.context);
  return result;
}

Result wait(Handle stream) {
  DriverCalls& calls = driver_calls();
  const auto begin = Clock::now();
  const Result result = real_wait(stream);
  calls.wait_ns += since(begin);
  ++calls.waits;
  return result;
}

Result find(const char* name, void** function, int version, std::uint64_t flags, void* status);
Result find_old(const char* name, void** function, int version, std::uint64_t flags);

// Ours in place of what was found under that name, which is kept; or what was found.
void* replaced(std::string_view name, void* found) {
  const auto take = [&](auto& kept, auto ours) {
    kept = reinterpret_cast<decltype(ours)>(found);
    return reinterpret_cast<void*>(ours);
  };
  if (found == nullptr) return found;
  if (name == "cuGraphLaunch" || name == "cuGraphLaunch_ptsz") return take(real_launch, &launch);
  if (name == "cuStreamSynchronize" || name == "cuStreamSynchronize_ptsz") {
    return take(real_wait, &wait);
  }
  if (name == "cuGetProcAddress_v2") return take(real_find, &find);
  if (name == "cuGetProcAddress") return take(real_find_old, &find_old);
  return found;
}

// The driver gives its own search too, in the form of the version that is asked for.
std::string_view name_of(std::string_view name, int version) {
  return name == "cuGetProcAddress" && version >= 12000 ? "cuGetProcAddress_v2" : name;
}

Result find(const char* name, void** function, int version, std::uint64_t flags, void* status) {
  const Result result = real_find(name, function, version, flags, status);
  if (result == 0 && function != nullptr) *function = replaced(name_of(name, version), *function);
  return result;
}

Result find_old(const char* name, void** function, int version, std::uint64_t flags) {
  const Result result = real_find_old(name, function, version, flags);
  if (result == 0 && function != nullptr) *function = replaced(name_of(name, version), *function);
  return result;
}

// The first thing that anybody asks of the driver's library.
void keep_contexts(void* library) {
  const auto keep = [&](auto& function, const char* name) {
    function =
        reinterpret_cast<std::remove_reference_t<decltype(function)>>(real_dlsym(library, name));
  };
  keep(current_context, "cuCtxGetCurrent");
  keep(push_context, "cuCtxPushCurrent_v2");
  keep(pop_context, "cuCtxPopCurrent_v2");
}

}  // namespace

DriverCalls& driver_calls() {
  static DriverCalls calls;
  return calls;
}

std::string launch_again(const DriverCalls& seen, double& launch_ns, double& total_ns) {
  if (push_context == nullptr || pop_context == nullptr || seen.context == nullptr) {
    return "the context of the launch is not known";
  }
  if (const Result result = push_context(seen.context); result != 0) {
    return "cuCtxPushCurrent gave " + std::to_string(result);
  }
  const auto begin = Clock::now();
  Result result = real_launch(seen.graph, seen.stream);
  launch_ns = since(begin);
  if (result == 0) result = real_wait(seen.stream);
  total_ns = since(begin);
  Handle popped = nullptr;
  pop_context(&popped);
  return result == 0 ? "" : "cuGraphLaunch gave " + std::to_string(result);
}

}  // namespace miniinfer::bench

// Stands before the loader's own for every library of the program.
extern "C" void* dlsym(void* library, const char* name) noexcept {
  using namespace miniinfer::bench;  // NOLINT
  void* const found = real_dlsym(library, name);
  if (std::string_view(name).starts_with("cuGetProcAddress")) keep_contexts(library);
  return replaced(name, found);
}
