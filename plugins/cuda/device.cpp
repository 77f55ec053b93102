#include "plugins/cuda/device.hpp"

#include <algorithm>
#include <cctype>
#include <utility>

#include "plugins/cuda/check.hpp"
#include "plugins/cuda/context.hpp"
#include "plugins/cuda/driver.hpp"
#include "plugins/cuda/findings.hpp"
#include "plugins/cuda/graph_capture.hpp"
#include "plugins/cuda/kernels/fill_launch.hpp"
#include "plugins/cuda/memory_annotate.hpp"
#include "plugins/cuda/peer_copy.hpp"
#include "plugins/cuda/probe.hpp"
#include "plugins/cuda/process.hpp"
#include "plugins/cuda/virtual_memory.hpp"

namespace miniinfer::cuda {
namespace {

void check(CUresult result, const char* call) {
  if (result == CUDA_SUCCESS) return;
  // The first numbers of both enumerations agree.
  raise(static_cast<cudaError_t>(result), call);
}

// As /proc shows it: "0000:65:00.0".
std::string bus_id_of(int index) {
  char text[32] = "";
  CUDA_CHECK_THROW(cudaDeviceGetPCIBusId(text, sizeof text, index));
  std::string id(text);
  std::transform(id.begin(), id.end(), id.begin(), [](unsigned char c) { return std::tolower(c); });
  return id;
}

int attribute(cudaDeviceAttr which, int index) {
  int value = 0;
  CUDA_CHECK_THROW(cudaDeviceGetAttribute(&value, which, index));
  return value;
}

int count_devices() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver) {
    int driver = 0;
    static_cast<void>(cudaDriverGetVersion(&driver));
    static_cast<void>(cudaGetLastError());
    const std::string floor = driver_floor(CUDART_VERSION);
    if (driver == 0) {
      sdk::fail(MINIINFER_UNAVAILABLE, "no NVIDIA driver: libcuda.so.1 cannot be opened");
    }
    sdk::fail(MINIINFER_UNAVAILABLE,
              "the NVIDIA driver is too old: it serves CUDA %d.%d, this plugin needs CUDA %d.0, "
              "driver %s or newer",
              driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, floor.c_str());
  }
  if (error != cudaSuccess && error != cudaErrorNoDevice) raise(error, "cudaGetDeviceCount");
  static_cast<void>(cudaGetLastError());
  return count;
}

// The runtime's number of the device in that place of the bus order.
int index_by_order(std::uint32_t ordinal) {
  std::vector<std::pair<std::string, int>> devices;
  for (int index = 0; index < count_devices(); ++index) {
    devices.emplace_back(bus_id_of(index), index);
  }
  if (ordinal >= devices.size()) {
    sdk::fail(MINIINFER_UNAVAILABLE, "CUDA shows %zu devices here, and none is number %u",
              devices.size(), ordinal);
  }
  std::sort(devices.begin(), devices.end());
  return devices[ordinal].second;
}

}  // namespace

CurrentDevice::CurrentDevice(CUcontext context) {
  const Driver& driver = Driver::get();
  CUcontext before = nullptr;
  check(driver.context_get_current(&before), "cuCtxGetCurrent");
  if (before == context) return;
  check(driver.context_push(context), "cuCtxPushCurrent");
  pushed_ = true;
}

CurrentDevice::~CurrentDevice() {
  if (!pushed_) return;
  CUcontext popped = nullptr;
  static_cast<void>(Driver::get().context_pop(&popped));
}

Device::Device(std::uint32_t ordinal, const miniinfer_device_info& info)
    : id_("cuda:" + std::to_string(ordinal)), forks_at_open_(forks()) {
  info_.stable_id = info.stable_id;
  info_.driver = info.driver;
  open(info.bus_id, ordinal);
  on_device([&] { read_properties(); });
  device_memory_ = std::make_unique<CUDAAllocator>(*this, MINIINFER_MEMORY_DEVICE);
  pinned_memory_ = std::make_unique<CUDAAllocator>(*this, MINIINFER_MEMORY_PINNED);
  findings_ = std::make_unique<Findings>();
}

Device::~Device() {
  release([&] { findings_.reset(); });
  static_cast<void>(findings_.release());  // where CUDA may not be called they are left behind
}

Findings& Device::findings() { return *findings_; }

void Device::open(const std::string& bus_id, std::uint32_t ordinal) {
  if (bus_id.empty()) {
    index_ = index_by_order(ordinal);
  } else {
    if (count_devices() == 0) {
      sdk::fail(MINIINFER_UNAVAILABLE, "CUDA shows no device in this process, %s at %s included",
                id(), bus_id.c_str());
    }
    const cudaError_t error = cudaDeviceGetByPCIBusId(&index_, bus_id.c_str());
    if (error != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      sdk::fail(MINIINFER_UNAVAILABLE, "CUDA does not show the GPU at %s: %s", bus_id.c_str(),
                cudaGetErrorString(error));
    }
  }
  const cudaError_t error = cudaInitDevice(index_, 0, 0);
  if (error == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    sdk::fail(MINIINFER_OUT_OF_MEMORY,
              "the GPU at %s has no room for this process: a context takes some hundreds of MiB",
              bus_id_of(index_).c_str());
  }
  if (error != cudaSuccess) raise(error, "cudaInitDevice");
  const Driver& driver = Driver::get();
  CUdevice device = 0;
  check(driver.device_get(&device, index_), "cuDeviceGet");
  check(driver.primary_context_retain(&context_, device), "cuDevicePrimaryCtxRetain");
}

void Device::read_properties() {
  cudaDeviceProp properties;
  CUDA_CHECK_THROW(cudaGetDeviceProperties(&properties, index_));
  properties_.compute_capability = properties.major * 10 + properties.minor;
  properties_.multiprocessors = properties.multiProcessorCount;
  properties_.max_threads_per_multiprocessor = properties.maxThreadsPerMultiProcessor;
  properties_.shared_bytes_per_block =
      static_cast<std::size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, index_));
  properties_.l2_bytes = static_cast<std::size_t>(properties.l2CacheSize);
  properties_.name = properties.name;
  if (const cudaError_t error = check_kernels(); error != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    if (error != cudaErrorNoKernelImageForDevice && error != cudaErrorInvalidDeviceFunction) {
      raise(error, "loading kernels");
    }
    sdk::fail(MINIINFER_UNAVAILABLE,
              "this plugin has machine code for %s, and %s is sm_%d: build it with -Dgpu_archs=%d",
              MINIINFER_GPU_ARCHS, properties.name, properties_.compute_capability,
              properties_.compute_capability);
  }

  const std::string stable_id = std::move(info_.stable_id);
  const std::string driver = std::move(info_.driver);
  info_ = describe_device(bus_id_of(index_));
  info_.stable_id = stable_id;
  info_.driver = driver;
  info_.name = properties.name;
  info_.memory_bytes = properties.totalGlobalMem;
}

std::vector<sdk::Allocator*> Device::allocators() {
  return {device_memory_.get(), pinned_memory_.get()};
}

void Device::sync() {
  on_device([] { CUDA_CHECK_THROW(cudaDeviceSynchronize()); });
}

std::unique_ptr<sdk::Stream> Device::make_stream(std::int32_t priority, void* native) {
  return on_device([&] { return std::make_unique<CUDADeviceContext>(*this, priority, native); });
}

std::unique_ptr<sdk::Event> Device::make_event() {
  return on_device([&] { return std::make_unique<CUDAEvent>(*this); });
}

const void* Device::extension(std::string_view id) {
  if (id == MINIINFER_EXT_GRAPH_CAPTURE) return graph_capture();
  if (id == MINIINFER_EXT_PEER_COPY) return peer_copy();
  if (id == MINIINFER_EXT_VIRTUAL_MEMORY) return virtual_memory(*this);
  if (id == MINIINFER_EXT_MEMORY_ANNOTATE) return memory_annotate();
  return nullptr;
}

bool Device::reachable() const noexcept {
  return !lost() && forks() == forks_at_open_ && !exiting();
}

void Device::check_alive() const {
  if (reachable()) return;
  if (forks() != forks_at_open_) {
    sdk::fail(MINIINFER_FAILED_PRECONDITION,
              "%s was opened before this process was forked: CUDA works in the parent alone", id());
  }
  if (exiting()) sdk::fail(MINIINFER_UNAVAILABLE, "%s: the process is exiting", id());
  const std::lock_guard lock(lost_mutex_);
  sdk::fail(MINIINFER_DEVICE_LOST, "%s is lost until the process ends: %s", id(),
            lost_why_.c_str());
}

void Device::mark_lost(const char* why) noexcept {
  const std::lock_guard lock(lost_mutex_);
  if (lost()) return;
  sdk::detail::guard_quietly("keeping why a device was lost", [&] { lost_why_ = why; });
  lost_.store(true, std::memory_order_release);
}

}  // namespace miniinfer::cuda
