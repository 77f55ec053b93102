#pragma once

// Laying buffers with known lifetimes into one arena.
//
// The offline dynamic storage allocation problem: a buffer has a size and a time in which it is
// alive; two that are alive at one time must not overlap. Finding the smallest arena is NP-hard.
// Three things are tried in turn, each only where the one before left something to gain:
//
//   bound   the most bytes alive at one time; no arena is smaller.
//   greedy  buffers in a few fixed orders, each into the tightest gap that fits. Reaches the bound
//           on most networks (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
//           Inference", 2020).
//   search  a tree search that can also prove that there is nothing better, after Moffitt,
//           "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning",
//           2023; core/plan/arena_search.hpp says how. It takes time, so it is asked for.
//
// The plan depends on the buffers and options alone, unless `time` or `stop` ends the search.

#include <chrono>
#include <cstdint>
#include <span>
#include <stop_token>
#include <string_view>
#include <vector>

#include "miniinfer/status.hpp"

namespace miniinfer {

struct PlanBuffer {
  std::uint64_t bytes = 0;  // 0: it overlaps nothing, and its offset is 0
  // Alive from `begin` up to, without, `end`: steps, ticks, whatever counts up. An empty lifetime
  // needs nothing either.
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t alignment = 1;  // of its offset; a power of two
};

struct PlanOptions {
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};

  // The first plan of at most so many bytes will do. kNone: the smallest one.
  std::uint64_t capacity = kNone;
  // What the search may cost: nodes of its tree (each some microseconds for a hundred buffers)
  // and time. 0 nodes: no search.
  std::uint64_t nodes = 0;
  std::chrono::nanoseconds time = std::chrono::nanoseconds::max();
  std::stop_token stop = {};
};

struct ArenaPlan {
  std::vector<std::uint64_t> offsets = {};  // one for each buffer
  std::uint64_t bytes = 0;                  // the arena's size
  std::uint64_t lower_bound = 0;            // no plan is smaller; a search may raise it
  std::string_view found_by = {};  // "greedy by size", .., "search"; of the part that is largest
  std::uint64_t nodes = 0;         // that the search visited

  bool optimal() const { return bytes == lower_bound; }
};

// Plans an arena. No buffers need none.
// INVALID_ARGUMENT: an alignment that is no power of two, an end before its begin.
// LIMIT_EXCEEDED: the buffers together pass 2^62 bytes; or no plan fits into the capacity, which is
// proven. TIMEOUT, CANCELLED: none was found that fits before the search had to end.
MINIINFER_API Result<ArenaPlan> plan_arena(std::span<const PlanBuffer> buffers,
                                           const PlanOptions& options = {});

// The bound alone, of buffers as plan_arena takes them.
MINIINFER_API Result<std::uint64_t> arena_lower_bound(std::span<const PlanBuffer> buffers);

// INTERNAL, naming them, if two buffers that are alive at one time overlap, one lies outside the
// arena or is not aligned. Shares no code with what makes plans.
MINIINFER_API Status verify_arena(std::span<const PlanBuffer> buffers, const ArenaPlan& plan);

}  // namespace miniinfer
