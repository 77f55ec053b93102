#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "miniinfer/memory_planner.hpp"

namespace miniinfer {

// Buffers that are connected in time. Parts share no moment, so each is planned alone and the
// largest is the arena.
//
// Time is counted in sections: moments at which no further buffer could join those alive. Every two
// buffers that ever meet do so in a section, so nothing else needs to be looked at.
struct ArenaPart {
  struct Buffer {
    std::uint64_t bytes;
    std::uint64_t alignment;
    std::uint64_t lifetime;    // in the caller's units
    std::uint32_t begin, end;  // sections, end excluded; at least one
    std::uint32_t index;       // in the caller's list
    std::uint64_t load;        // of the fullest section it is in
  };
  std::vector<Buffer> buffers;  // by begin
  std::uint32_t sections = 0;
  std::uint64_t lower_bound = 0;  // the fullest section
  std::uint64_t step = 1;         // divides every offset and size that a tight plan can have
};

// The parts of buffers that have been checked, those that need nothing left out.
std::vector<ArenaPart> split_in_time(std::span<const PlanBuffer> buffers);

// Offsets by buffer of a part, and where the highest buffer ends.
struct PartPlan {
  std::vector<std::uint64_t> offsets;
  std::uint64_t bytes = 0;
};

}  // namespace miniinfer
