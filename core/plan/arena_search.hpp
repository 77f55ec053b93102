#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>

#include "core/plan/arena_part.hpp"

namespace miniinfer {

// What searches may still cost, all of one plan together.
struct SearchBudget {
  std::uint64_t nodes = 0;
  std::chrono::steady_clock::time_point end = std::chrono::steady_clock::time_point::max();
  std::stop_token stop;
  std::uint64_t visited = 0;

  // Looks at the clock; not for every node.
  bool is_spent() const {
    return visited >= nodes || stop.stop_requested() || std::chrono::steady_clock::now() >= end;
  }
};

// An exact search for a plan of one part.
//
// A tight plan, one whose buffers all have been moved down as far as they go, is found again by
// placing its buffers from the lowest offset to the highest, each as low as those placed before it
// allow; equal offsets go by a fixed rank. So the tree branches on which buffer comes next, and a
// buffer below the last one placed waits until something has been put under it. Pruned are nodes in
// which
//   - a section cannot hold what is still to be placed in it: each buffer starts at its lowest
//     offset or later, so those from any offset on must fit above that (one machine with release
//     times; Moffitt's section inference uses the lowest offset of all);
//   - a buffer is passed by although nothing can be put under it, which leaves a hole (dominance);
// and what falls apart in time is searched part by part. Which rank is good differs between
// instances, so several take turns with growing limits.
class ArenaSearch {
 public:
  enum class Outcome { Fits, Impossible, Unknown };

  // `part` must outlive the search. None where the part is too large for searching to make sense.
  static std::optional<ArenaSearch> make(const ArenaPart& part);
  ArenaSearch(ArenaSearch&&) noexcept;
  ~ArenaSearch();

  // A plan of at most `capacity` bytes, into `plan`. Unknown: the ranks have visited `limit` nodes
  // each, or the budget is spent.
  Outcome fit(std::uint64_t capacity, std::uint64_t limit, SearchBudget& budget, PartPlan& plan);

 private:
  class Impl;
  explicit ArenaSearch(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace miniinfer
