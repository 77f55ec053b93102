#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/memory/budget.hpp"
#include "miniinfer/pool_allocator.hpp"

namespace miniinfer {

// What the environment says about memory:
//
//   MINIINFER_MEMORY=limit=4GiB&slack=1.05     each device's shared pool, as `caching` takes it
//   MINIINFER_MEMORY_LIMIT=8GiB,fake:0=4GiB    all pools of the process, those of a device
struct MemorySettings {
  PoolOptions pool;
  std::uint64_t process_limit = Budget::kUnlimited;
  std::vector<std::pair<std::string, std::uint64_t>> device_limits;  // by "fake:0"

  std::uint64_t limit_of(std::string_view device) const noexcept;
};

// INVALID_ARGUMENT, naming the variable, for what cannot be read.
Result<MemorySettings> read_memory_settings();

// MINIINFER_MEMORY_SNAPSHOT=FILE or a folder: where the pool that first fails is written to. Empty:
// nowhere.
std::string snapshot_setting();

}  // namespace miniinfer
