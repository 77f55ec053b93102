#pragma once

// The few functions of the driver's interface that the runtime's has no equal for. Found through
// the runtime, which opens libcuda itself: nothing here is linked.

#include <cudaTypedefs.h>

namespace miniinfer::cuda {

struct Driver {
  PFN_cuDeviceGet_v2000 device_get;
  PFN_cuDevicePrimaryCtxRetain_v7000 primary_context_retain;
  PFN_cuCtxGetCurrent_v4000 context_get_current;
  PFN_cuCtxPushCurrent_v4000 context_push;
  PFN_cuCtxPopCurrent_v4000 context_pop;
  PFN_cuMemGetAddressRange_v3020 memory_range;
  PFN_cuDeviceGetAttribute_v2000 device_attribute;
  PFN_cuMemGetAllocationGranularity_v10020 memory_granularity;
  PFN_cuMemAddressReserve_v10020 address_reserve;
  PFN_cuMemAddressFree_v10020 address_free;
  PFN_cuMemCreate_v10020 memory_create;
  PFN_cuMemRelease_v10020 memory_release;
  PFN_cuMemMap_v10020 memory_map;
  PFN_cuMemUnmap_v10020 memory_unmap;
  PFN_cuMemSetAccess_v10020 memory_set_access;

  // Throws UNAVAILABLE where there is no driver or it lacks one of them. [any-thread]
  static const Driver& get();
};

}  // namespace miniinfer::cuda
