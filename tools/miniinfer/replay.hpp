#pragma once

// A trace of allocations, asked of an allocator.

#include <span>
#include <stop_token>

#include "allocation_trace.hpp"
#include "miniinfer/miniinfer.hpp"

namespace miniinfer::command {

struct Replayed {
  double ns_per_op = 0;         // of all calls together, by one look at the clock before and after
  std::uint64_t live_peak = 0;  // bytes as asked for, of what could be had
  std::uint64_t reserved_peak = 0;  // bytes of the device; without a pool the same
  std::uint64_t driver_calls = 0;   // by the pool; without one, the calls
  std::uint64_t failures = 0;       // requests that found no memory; the others went on
  Status first_failure;
};

// Asks `allocator`, which nobody else uses meanwhile, for what the trace asks for; each of the
// trace's streams is the one of a context. What is live at the end is given back, also after an
// error. CANCELLED when `stop` was asked for, and whatever but a lack of memory the allocator says.
Result<Replayed> replay(const AllocationTrace& trace, std::span<DeviceContext> contexts,
                        Allocator& allocator, const std::stop_token& stop);

}  // namespace miniinfer::command
