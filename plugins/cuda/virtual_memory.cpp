// The driver's virtual memory interface: "CUDA C++ Programming Guide", Virtual Memory Management.

#include "plugins/cuda/virtual_memory.hpp"

#include <memory>

#include "miniinfer/sdk/open_device.hpp"
#include "plugins/cuda/check.hpp"
#include "plugins/cuda/device.hpp"
#include "plugins/cuda/driver.hpp"

namespace miniinfer::cuda {
namespace {

struct Physical {
  CUmemGenericAllocationHandle handle;
  std::uint64_t bytes;
};

Device& device_of(miniinfer_device* device) { return static_cast<Device&>(sdk::unwrap(device)); }

// The driver's codes are the runtime's.
void check(CUresult result, const char* call) {
  if (result != CUDA_SUCCESS) raise(static_cast<cudaError_t>(result), call);
}

CUmemAllocationProp properties_of(const Device& device) {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, {device.index()}};
  return properties;
}

std::uint64_t granularity(miniinfer_device* device) noexcept {
  std::uint64_t bytes = 0;
  sdk::detail::guard_quietly("asking for the granularity of mapping", [&] {
    Device& gpu = device_of(device);
    gpu.on_device([&] {
      const CUmemAllocationProp properties = properties_of(gpu);
      std::size_t least = 0;
      check(Driver::get().memory_granularity(&least, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM),
            "cuMemGetAllocationGranularity");
      bytes = least;
    });
  });
  return bytes;
}

miniinfer_code reserve(miniinfer_device* device, std::uint64_t bytes, std::uint64_t* out) noexcept {
  return sdk::detail::guard([&] {
    device_of(device).on_device([&] {
      CUdeviceptr address = 0;
      check(Driver::get().address_reserve(&address, bytes, 0, 0, 0), "cuMemAddressReserve");
      *out = address;
    });
  });
}

void release(miniinfer_device* device, std::uint64_t address, std::uint64_t bytes) noexcept {
  device_of(device).release(
      [&] { check(Driver::get().address_free(address, bytes), "cuMemAddressFree"); });
}

miniinfer_code create(miniinfer_device* device, std::uint64_t bytes,
                      miniinfer_physical** out) noexcept {
  return sdk::detail::guard([&] {
    Device& gpu = device_of(device);
    gpu.on_device([&] {
      const CUmemAllocationProp properties = properties_of(gpu);
      auto piece = std::make_unique<Physical>(Physical{0, bytes});
      const CUresult result = Driver::get().memory_create(&piece->handle, bytes, &properties, 0);
      if (result == CUDA_ERROR_OUT_OF_MEMORY) {
        std::size_t free_bytes = 0, total_bytes = 0;
        CUDA_CHECK_THROW(cudaMemGetInfo(&free_bytes, &total_bytes));
        sdk::fail(MINIINFER_OUT_OF_MEMORY,
                  "cuMemCreate of %llu bytes on %s failed: %llu of %llu free",
                  static_cast<unsigned long long>(bytes), gpu.id(),
                  static_cast<unsigned long long>(free_bytes),
                  static_cast<unsigned long long>(total_bytes));
      }
      check(result, "cuMemCreate");
      *out = reinterpret_cast<miniinfer_physical*>(piece.release());
    });
  });
}

void destroy(miniinfer_device* device, miniinfer_physical* physical) noexcept {
  const std::unique_ptr<Physical> piece(reinterpret_cast<Physical*>(physical));
  device_of(device).release(
      [&] { check(Driver::get().memory_release(piece->handle), "cuMemRelease"); });
}

miniinfer_code map(miniinfer_device* device, std::uint64_t address,
                   miniinfer_physical* physical) noexcept {
  return sdk::detail::guard([&] {
    const auto& piece = *reinterpret_cast<const Physical*>(physical);
    device_of(device).on_device([&] {
      check(Driver::get().memory_map(address, piece.bytes, 0, piece.handle, 0), "cuMemMap");
    });
  });
}

miniinfer_code unmap(miniinfer_device* device, std::uint64_t address,
                     std::uint64_t bytes) noexcept {
  return sdk::detail::guard([&] {
    device_of(device).on_device(
        [&] { check(Driver::get().memory_unmap(address, bytes), "cuMemUnmap"); });
  });
}

miniinfer_code set_access(miniinfer_device* device, std::uint64_t address, std::uint64_t bytes,
                          miniinfer_access access) noexcept {
  return sdk::detail::guard([&] {
    Device& gpu = device_of(device);
    gpu.on_device([&] {
      const CUmemAccessDesc desc = {{CU_MEM_LOCATION_TYPE_DEVICE, {gpu.index()}},
                                    access == MINIINFER_ACCESS_NONE
                                        ? CU_MEM_ACCESS_FLAGS_PROT_NONE
                                        : CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
      check(Driver::get().memory_set_access(address, bytes, &desc, 1), "cuMemSetAccess");
    });
  });
}

constexpr miniinfer_virtual_memory kTable = {MINIINFER_HEAD(miniinfer_virtual_memory),
                                             granularity,
                                             reserve,
                                             release,
                                             create,
                                             destroy,
                                             map,
                                             unmap,
                                             set_access};

}  // namespace

const miniinfer_virtual_memory* virtual_memory(Device& device) noexcept {
  bool able = false;
  sdk::detail::guard_quietly("asking whether memory can be mapped", [&] {
    device.on_device([&] {
      int value = 0;
      check(Driver::get().device_attribute(
                &value, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, device.index()),
            "cuDeviceGetAttribute");
      able = value != 0;
    });
  });
  return able ? &kTable : nullptr;
}

}  // namespace miniinfer::cuda
