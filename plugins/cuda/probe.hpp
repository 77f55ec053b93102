#pragma once

#include <string>

#include "miniinfer/sdk/backend.hpp"
#include "plugins/cuda/system.hpp"

namespace miniinfer::cuda {

// Which GPUs this process will see, told without CUDA: initialising it costs 100 ms and cannot be
// undone before a fork. A few files are read, no library is opened.
//
// FOUND: driver, library and device nodes are there. ABSENT: nothing of the driver is there, the
// driver is too old, or CUDA_VISIBLE_DEVICES hides all. UNKNOWN: some signs are missing, as in
// containers and under WSL 2; then at least one device is listed, and opening it decides.
sdk::Probe probe_system(const System& system);

// What is the same for all GPUs, and the names that come from where one is on the bus.
sdk::DeviceInfo describe_device(const std::string& bus_id);

// The oldest driver for a CUDA version, CUDART_VERSION as text: "580".
std::string driver_floor(int cuda_version);

}  // namespace miniinfer::cuda
