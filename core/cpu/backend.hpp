#pragma once

#include "miniinfer/abi/plugin.h"

// The built-in backend "cpu", entered as any plugin is. It serves one device and gives it no memory
// of its own: the host's allocator serves the domain "host". [loader]
extern "C" miniinfer_code miniinfer_cpu_entry(miniinfer_entry* entry);

namespace miniinfer::cpu {

// The table that host() gives from now on; init does this. It must outlive the process's kernels.
void set_host(const miniinfer_host& table) noexcept;

}  // namespace miniinfer::cpu
