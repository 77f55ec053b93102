#include "tests/bench/bare_graph.hpp"

#include <dlfcn.h>
#include <time.h>

#include <algorithm>
#include <chrono>

namespace miniinfer::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Result = int;  // CUresult
using Handle = void*;

constexpr unsigned kBlockingSync = 4;   // CU_CTX_SCHED_BLOCKING_SYNC
constexpr unsigned kNonBlocking = 1;    // CU_STREAM_NON_BLOCKING
constexpr int kThreadLocalCapture = 1;  // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
constexpr int kClockRate = 13;          // CU_DEVICE_ATTRIBUTE_CLOCK_RATE, kHz

// Waits for so many cycles.
constexpr const char* kKernel = R"(
.version 8.0
.target sm_75
.address_size 64
.visible .entry wait(.param .u64 cycles) {
  .reg .b64 %limit, %begin, %now;
  .reg .pred %more;
  ld.param.u64 %limit, [cycles];
  mov.u64 %begin, %clock64;
again:
  mov.u64 %now, %clock64;
  sub.u64 %now, %now, %begin;
  setp.lt.u64 %more, %now, %limit;
  @%more bra again;
  ret;
}
)";

double nanoseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::nano>(duration).count();
}

}  // namespace

double thread_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

template <class F>
F Driver::function(const char* name) const {
  return reinterpret_cast<F>(dlsym(library_, name));
}

// Calls a function of the driver, or leaves with its name and what it said.
#define BENCH_CALL(driver, name, types, ...)                                       \
  do {                                                                             \
    const auto call = (driver).function<Result(*) types>(name);                    \
    const Result result = call == nullptr ? -1 : call(__VA_ARGS__);                \
    if (result != 0) return std::string(name) + " gave " + std::to_string(result); \
  } while (false)

std::string Driver::open() {
  library_ = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) return dlerror();
  BENCH_CALL(*this, "cuInit", (unsigned), 0);
  return "";
}

std::string Driver::sleep_in_waits(const std::string& bus_id) {
  int device = 0;
  BENCH_CALL(*this, "cuDeviceGetByPCIBusId", (int*, const char*), &device, bus_id.c_str());
  BENCH_CALL(*this, "cuDevicePrimaryCtxSetFlags_v2", (int, unsigned), device, kBlockingSync);
  return "";
}

std::uint64_t Driver::free_bytes(const std::string& bus_id) {
  static void* const library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return 0;
  const auto call = [](const char* name, auto... arguments) {
    const auto function = reinterpret_cast<int (*)(decltype(arguments)...)>(dlsym(library, name));
    return function != nullptr && function(arguments...) == 0;
  };
  Handle device = nullptr;
  unsigned long long memory[3] = {};  // total, free, used
  if (!call("nvmlInit_v2") || !call("nvmlDeviceGetHandleByPciBusId_v2", bus_id.c_str(), &device) ||
      !call("nvmlDeviceGetMemoryInfo", device, &memory[0])) {
    return 0;
  }
  return memory[1];
}

std::string Driver::enter(const std::string& bus_id) {
  int device = 0;
  Handle context = nullptr;
  BENCH_CALL(*this, "cuDeviceGetByPCIBusId", (int*, const char*), &device, bus_id.c_str());
  BENCH_CALL(*this, "cuDevicePrimaryCtxRetain", (Handle*, int), &context, device);
  BENCH_CALL(*this, "cuCtxSetCurrent", (Handle), context);
  unsigned flags = 0;
  BENCH_CALL(*this, "cuCtxGetFlags", (unsigned*), &flags);
  if ((flags & 7) != kBlockingSync) return "waits of the primary context do not sleep";
  return "";
}

std::string BareGraph::make(const Driver& driver, int nodes, double total_ns) {
  driver_ = &driver;
  int device = 0;
  int khz = 0;
  Handle module = nullptr;
  Handle kernel = nullptr;
  Handle graph = nullptr;
  BENCH_CALL(driver, "cuCtxGetDevice", (int*), &device);
  BENCH_CALL(driver, "cuDeviceGetAttribute", (int*, int, int), &khz, kClockRate, device);
  BENCH_CALL(driver, "cuModuleLoadData", (Handle*, const void*), &module, kKernel);
  BENCH_CALL(driver, "cuModuleGetFunction", (Handle*, Handle, const char*), &kernel, module,
             "wait");
  BENCH_CALL(driver, "cuStreamCreate", (Handle*, unsigned), &stream_, kNonBlocking);
  unsigned long long cycles =
      static_cast<unsigned long long>(std::max(total_ns / nodes, 0.0) * 1e-6 * khz);
  void* arguments[] = {&cycles};
  BENCH_CALL(driver, "cuStreamBeginCapture_v2", (Handle, int), stream_, kThreadLocalCapture);
  for (int i = 0; i < nodes; ++i) {
    BENCH_CALL(driver, "cuLaunchKernel",
               (Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                Handle, void**, void**),
               kernel, 1, 1, 1, 1, 1, 1, 0, stream_, arguments, nullptr);
  }
  BENCH_CALL(driver, "cuStreamEndCapture", (Handle, Handle*), stream_, &graph);
  BENCH_CALL(driver, "cuGraphInstantiateWithFlags", (Handle*, Handle, unsigned long long), &exec_,
             graph, 0ull);
  BENCH_CALL(driver, "cuGraphUpload", (Handle, Handle), exec_, stream_);
  BENCH_CALL(driver, "cuStreamSynchronize", (Handle), stream_);
  return "";
}

std::string BareGraph::measure(int runs, Cost& cost) const {
  const auto launch = driver_->function<Result (*)(Handle, Handle)>("cuGraphLaunch");
  const auto wait = driver_->function<Result (*)(Handle)>("cuStreamSynchronize");
  if (launch == nullptr || wait == nullptr) return "the driver has no cuGraphLaunch";
  std::vector<double> launches, waits, totals;
  for (int i = 0; i < runs; ++i) {
    const auto begin = Clock::now();
    Result result = launch(exec_, stream_);
    const auto launched = Clock::now();
    const double cpu = thread_ns();
    if (result == 0) result = wait(stream_);
    waits.push_back(thread_ns() - cpu);
    if (result != 0) return "cuGraphLaunch gave " + std::to_string(result);
    totals.push_back(nanoseconds(Clock::now() - begin));
    launches.push_back(nanoseconds(launched - begin));
  }
  cost = {median(launches), median(waits), median(totals)};
  return "";
}

}  // namespace miniinfer::bench
