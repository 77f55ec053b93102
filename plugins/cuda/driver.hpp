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

  // Throws UNAVAILABLE where there is no driver or it lacks one of them. [any-thread]
  static const Driver& get();
};

}  // namespace miniinfer::cuda
