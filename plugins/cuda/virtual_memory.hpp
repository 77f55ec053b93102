#pragma once

#include "miniinfer/abi/ext/draft/virtual_memory.h"

namespace miniinfer::cuda {

class Device;

// The table of "miniinfer.virtual_memory/1"; null where the GPU's driver cannot map memory.
// [any-thread]
const miniinfer_virtual_memory* virtual_memory(Device& device) noexcept;

}  // namespace miniinfer::cuda
