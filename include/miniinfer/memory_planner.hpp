#pragma once

// Laying buffers with known lifetimes into one arena.
//
// The offline dynamic storage allocation problem: each buffer has a size and the first and last
// step at which it is alive; two that are alive at one time must not overlap. Finding the smallest
// arena is NP-hard; the greedy method here (largest first, each into the tightest gap that fits) is
// within a few percent on real networks. See Pisarchyk and Lee, "Efficient Memory Management for
// Deep Neural Net Inference", 2020, for the method.

#include <cstdint>
#include <span>
#include <vector>

#include "miniinfer/status.hpp"

namespace miniinfer {

struct PlanBuffer {
  std::uint64_t bytes = 0;
  std::uint32_t first = 0;  // the step that writes it
  std::uint32_t last = 0;   // the last step that reads it; at least first
};

struct ArenaPlan {
  std::vector<std::uint64_t> offsets;  // one for each buffer
  std::uint64_t bytes = 0;             // the arena's size
  std::uint64_t lower_bound = 0;       // the most that is alive at one step
};

// Plans buffers whose sizes are rounded up to `alignment`, a power of two. LIMIT_EXCEEDED where the
// sum does not fit in 63 bits.
MINIINFER_API Result<ArenaPlan> plan_arena(std::span<const PlanBuffer> buffers,
                                           std::uint64_t alignment = 64);

// INTERNAL, naming both, if two buffers that are alive at one time overlap or one lies outside.
MINIINFER_API Status verify_arena(std::span<const PlanBuffer> buffers, const ArenaPlan& plan);

}  // namespace miniinfer
