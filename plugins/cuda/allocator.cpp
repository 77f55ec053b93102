#include "plugins/cuda/allocator.hpp"

#include <cuda_runtime_api.h>

#include <fstream>
#include <limits>
#include <string>
#include <utility>

#include "plugins/cuda/check.hpp"
#include "plugins/cuda/device.hpp"
#include "plugins/cuda/driver.hpp"

namespace miniinfer::cuda {
namespace {

constexpr std::uint64_t kDeviceAlignment = 256;  // documented for cudaMalloc
constexpr std::uint64_t kPinnedAlignment = 64;   // nothing is; small blocks do not begin a page

sdk::AllocatorTraits traits_of(miniinfer_memory_kind kind) {
  sdk::AllocatorTraits traits;
  traits.kind = kind;
  traits.min_alignment = kind == MINIINFER_MEMORY_DEVICE ? kDeviceAlignment : kPinnedAlignment;
  traits.imports = true;
  return traits;
}

sdk::MemoryInfo host_memory() {
  sdk::MemoryInfo info{};
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::uint64_t kib = 0;
  for (std::string unit; file >> key >> kib; std::getline(file, unit)) {
    if (key == "MemTotal:") info.total_bytes = kib << 10;
    if (key == "MemAvailable:") info.free_bytes = kib << 10;
  }
  return info;
}

double gib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1u << 30); }

}  // namespace

CUDAAllocator::CUDAAllocator(Device& device, miniinfer_memory_kind kind)
    : Allocator(traits_of(kind)), device_(device) {}

miniinfer_mem CUDAAllocator::allocate(std::uint64_t bytes, std::uint64_t alignment, sdk::Stream*) {
  return device_.on_device([&]() -> miniinfer_mem {
    if (alignment <= traits().min_alignment) {
      return {reinterpret_cast<std::uint64_t>(take(bytes)), 0};
    }
    if (bytes > std::numeric_limits<std::uint64_t>::max() - alignment) fail_out_of_memory(bytes);
    void* start = take(bytes + alignment);
    const std::uint64_t address = reinterpret_cast<std::uint64_t>(start);
    const std::uint64_t aligned = (address + alignment - 1) & ~(alignment - 1);
    try {
      const std::lock_guard lock(mutex_);
      starts_.emplace(aligned, start);
    } catch (...) {
      give_back(start);
      throw;
    }
    return {aligned, 0};
  });
}

void* CUDAAllocator::take(std::uint64_t bytes) {
  void* start = nullptr;
  const cudaError_t error =
      pinned() ? cudaHostAlloc(&start, bytes, cudaHostAllocPortable) : cudaMalloc(&start, bytes);
  if (error == cudaSuccess) return start;
  static_cast<void>(cudaGetLastError());
  // Sizes that no machine has are refused as arguments.
  const bool absurd = error == cudaErrorInvalidValue && bytes > read_info().total_bytes;
  if (error == cudaErrorMemoryAllocation || absurd) fail_out_of_memory(bytes);
  raise(error, pinned() ? "cudaHostAlloc" : "cudaMalloc");
}

void CUDAAllocator::free(miniinfer_mem mem, std::uint64_t, sdk::Stream* stream) noexcept {
  void* start = reinterpret_cast<void*>(mem.handle);
  {
    const std::lock_guard lock(mutex_);
    if (const auto moved = starts_.find(mem.handle); moved != starts_.end()) {
      start = moved->second;
      starts_.erase(moved);
    }
  }
  device_.release([&] {
    // cudaFree waits for the device by itself; cudaFreeHost promises nothing.
    if (stream != nullptr && pinned()) stream->sync();
    give_back(start);
  });
}

void CUDAAllocator::give_back(void* start) noexcept {
  static_cast<void>(pinned() ? CUDA_CHECK(cudaFreeHost(start)) : CUDA_CHECK(cudaFree(start)));
}

void CUDAAllocator::fail_out_of_memory(std::uint64_t bytes) {
  const sdk::MemoryInfo now = read_info();
  sdk::fail(MINIINFER_OUT_OF_MEMORY,
            "%s of %llu bytes (%.2f GiB) on %s failed: %.2f GiB free of %.2f GiB",
            pinned() ? "cudaHostAlloc" : "cudaMalloc", static_cast<unsigned long long>(bytes),
            gib(bytes), device_.id(), gib(now.free_bytes), gib(now.total_bytes));
}

void* CUDAAllocator::host_pointer(miniinfer_mem mem) noexcept {
  return pinned() ? reinterpret_cast<void*>(mem.handle + mem.offset) : nullptr;
}

sdk::MemoryInfo CUDAAllocator::info() {
  return device_.on_device([&] { return read_info(); });
}

sdk::MemoryInfo CUDAAllocator::read_info() const {
  if (pinned()) return host_memory();
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
  CUDA_CHECK_THROW(cudaMemGetInfo(&free_bytes, &total_bytes));
  return {free_bytes, total_bytes};
}

miniinfer_mem CUDAAllocator::import_native(void* native, std::uint64_t bytes) {
  const auto refuse = [&](const char* why) {
    sdk::fail(MINIINFER_INVALID_ARGUMENT, "%llu bytes at %p cannot be used on %s: %s",
              static_cast<unsigned long long>(bytes), native, device_.id(), why);
  };
  return device_.on_device([&]() -> miniinfer_mem {
    cudaPointerAttributes attributes{};
    CUDA_CHECK_THROW(cudaPointerGetAttributes(&attributes, native));
    const bool on_device =
        attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
    if (pinned()) {
      if (attributes.type != cudaMemoryTypeHost) refuse("it is not pinned host memory");
      return {reinterpret_cast<std::uint64_t>(native), 0};
    }
    if (!on_device) refuse("it is no device memory");
    if (attributes.type == cudaMemoryTypeDevice && attributes.device != device_.index()) {
      refuse("it belongs to another GPU");
    }
    CUdeviceptr start = 0;
    std::size_t size = 0;
    const auto address = reinterpret_cast<CUdeviceptr>(native);
    if (Driver::get().memory_range(&start, &size, address) == CUDA_SUCCESS &&
        bytes > size - (address - start)) {
      refuse("its allocation ends before that");
    }
    return {address, 0};
  });
}

}  // namespace miniinfer::cuda
