#pragma once

// CUDA_VISIBLE_DEVICES, read as CUDA reads it.

#include <cstddef>
#include <string>
#include <vector>

namespace miniinfer::cuda {

// A GPU as the system shows it. Unknown parts are empty.
struct Gpu {
  std::string bus_id;  // "0000:65:00.0"
  std::string uuid;    // "GPU-7a1f.."
  std::string name;
};

struct VisibleDevices {
  std::vector<Gpu> gpus;  // in bus order
  // How many there are beyond `gpus` that cannot be told before CUDA is asked which they are.
  std::size_t unnamed = 0;
  std::string doubt;  // why opening has to decide; empty: it is as it says
};

// `gpus` in bus order. `mask` is the variable's value or null, `order` that of CUDA_DEVICE_ORDER.
//
// A list of numbers, or of GPU- or MIG- identifiers that may be cut short as long as they name one.
// The first element that names nothing ends the list. Numbers count in CUDA's own order, which is
// the bus's where CUDA_DEVICE_ORDER=PCI_BUS_ID or where all GPUs are alike, and otherwise cannot be
// known from outside.
VisibleDevices visible_devices(const std::vector<Gpu>& gpus, const char* mask, const char* order);

}  // namespace miniinfer::cuda
