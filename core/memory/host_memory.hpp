#pragma once

#include "miniinfer/allocator.hpp"

namespace miniinfer {

// What this process can still take, and has in all: the machine's memory, or the cgroup's limit
// where that is less. Reads /proc and /sys.
MemoryInfo host_memory_info() noexcept;

// Physical memory and swap of the machine: no single block can be larger. Read once.
std::uint64_t host_memory_ceiling() noexcept;

}  // namespace miniinfer
