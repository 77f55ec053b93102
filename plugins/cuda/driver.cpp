#include "plugins/cuda/driver.hpp"

#include "plugins/cuda/check.hpp"

namespace miniinfer::cuda {
namespace {

constexpr unsigned kVersion = 12000;  // the functions' forms as of CUDA 12

template <class F>
void find(const char* name, F& function) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
  CUDA_CHECK_THROW(
      cudaGetDriverEntryPointByVersion(name, &found, kVersion, cudaEnableDefault, &result));
  if (result != cudaDriverEntryPointSuccess || found == nullptr) {
    sdk::fail(MINIINFER_UNAVAILABLE, "the CUDA driver has no %s", name);
  }
  function = reinterpret_cast<F>(found);
}

Driver load() {
  Driver driver{};
  find("cuDeviceGet", driver.device_get);
  find("cuDevicePrimaryCtxRetain", driver.primary_context_retain);
  find("cuCtxGetCurrent", driver.context_get_current);
  find("cuCtxPushCurrent", driver.context_push);
  find("cuCtxPopCurrent", driver.context_pop);
  find("cuMemGetAddressRange", driver.memory_range);
  find("cuDeviceGetAttribute", driver.device_attribute);
  find("cuMemGetAllocationGranularity", driver.memory_granularity);
  find("cuMemAddressReserve", driver.address_reserve);
  find("cuMemAddressFree", driver.address_free);
  find("cuMemCreate", driver.memory_create);
  find("cuMemRelease", driver.memory_release);
  find("cuMemMap", driver.memory_map);
  find("cuMemUnmap", driver.memory_unmap);
  find("cuMemSetAccess", driver.memory_set_access);
  return driver;
}

}  // namespace

const Driver& Driver::get() {
  static const Driver driver = load();
  return driver;
}

}  // namespace miniinfer::cuda
