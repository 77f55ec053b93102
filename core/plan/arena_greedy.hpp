#pragma once

#include <string_view>

#include "core/plan/arena_part.hpp"

namespace miniinfer {

struct GreedyPlan : PartPlan {
  std::string_view order;  // "greedy by size"
};

// The best of a few orders; the first that reaches `enough` bytes ends it.
GreedyPlan plan_greedily(const ArenaPart& part, std::uint64_t enough);

}  // namespace miniinfer
