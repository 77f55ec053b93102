#include "miniinfer/memory_planner.hpp"

#include <algorithm>
#include <numeric>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"
#include "core/plan/arena_greedy.hpp"
#include "core/plan/arena_search.hpp"

namespace miniinfer {
namespace {

// Sums of offset, size and alignment stay far below 2^64 then.
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 62;

Status check(std::span<const PlanBuffer> buffers) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    const PlanBuffer& buffer = buffers[i];
    if (!is_power_of_two(buffer.alignment)) {
      return {Code::InvalidArgument, format("buffer %zu: alignment %llu is no power of two", i,
                                            static_cast<unsigned long long>(buffer.alignment))};
    }
    if (buffer.end < buffer.begin) {
      return {Code::InvalidArgument, format("buffer %zu ends at %llu, before it begins at %llu", i,
                                            static_cast<unsigned long long>(buffer.end),
                                            static_cast<unsigned long long>(buffer.begin))};
    }
    std::uint64_t most = 0;  // that it can add to an arena
    if (!checked_align_up(buffer.bytes, buffer.alignment, &most) ||
        !checked_add(total, most, &total) || total > kMostBytes) {
      return {Code::LimitExceeded,
              format("the buffers together pass 2^62 bytes at buffer %zu of %llu bytes", i,
                     static_cast<unsigned long long>(buffer.bytes))};
    }
  }
  return {};
}

// A part on its way to the smallest plan, or to one that is small enough.
struct Candidate {
  const ArenaPart* part;
  GreedyPlan plan;
  std::uint64_t lower_bound;
};

// Searches for plans of at most `goal` bytes, which is at least the bound; proofs raise the bound.
// Where the goal is out of reach, for the smallest plan.
void improve(Candidate& candidate, std::uint64_t goal, bool is_limit, SearchBudget& budget) {
  std::optional<ArenaSearch> search = ArenaSearch::make(*candidate.part);
  if (!search) return;
  const std::uint64_t step = candidate.part->step;
  std::uint64_t limit = 16 * candidate.part->buffers.size();
  const auto try_at = [&](std::uint64_t capacity) {
    const ArenaSearch::Outcome outcome = search->fit(capacity, limit, budget, candidate.plan);
    if (outcome == ArenaSearch::Outcome::Fits) candidate.plan.order = "search";
    if (outcome == ArenaSearch::Outcome::Impossible) {
      candidate.lower_bound = std::max(candidate.lower_bound, (capacity / step + 1) * step);
    }
    return outcome;
  };
  for (; !budget.is_spent(); limit *= 2) {
    // The goal first; then ever closer to the best plan, as far as this limit allows.
    std::uint64_t below = std::max(goal, candidate.lower_bound);
    if (candidate.plan.bytes <= below) return;
    const bool is_known = try_at(below) != ArenaSearch::Outcome::Unknown;
    if (is_known && is_limit) return;
    if (is_known || is_limit) continue;
    while (candidate.plan.bytes > below + step && !budget.is_spent()) {
      const std::uint64_t steps = (candidate.plan.bytes - below) / step;
      const std::uint64_t middle = below + steps / 2 * step;
      if (try_at(middle) != ArenaSearch::Outcome::Fits) below = middle;
    }
  }
}

Status too_large(const ArenaPlan& plan, const PlanOptions& options) {
  const auto number = [](std::uint64_t bytes) { return static_cast<unsigned long long>(bytes); };
  if (plan.lower_bound > options.capacity) {
    return {Code::LimitExceeded, format("no plan fits into %llu bytes: %llu are needed at least",
                                        number(options.capacity), number(plan.lower_bound))};
  }
  return {
      options.stop.stop_requested() ? Code::Cancelled : Code::Timeout,
      format("no plan of at most %llu bytes was found: the best has %llu, and no less than %llu "
             "is known to be needed",
             number(options.capacity), number(plan.bytes), number(plan.lower_bound)),
      "allow a longer search, or more bytes"};
}

}  // namespace

Result<ArenaPlan> plan_arena(std::span<const PlanBuffer> buffers, const PlanOptions& options) {
  if (Status status = check(buffers); !status.ok()) return status;
  ArenaPlan plan;
  plan.offsets.resize(buffers.size());
  plan.found_by = "nothing to place";
  const std::vector<ArenaPart> parts = split_in_time(buffers);
  for (const ArenaPart& part : parts) {
    plan.lower_bound = std::max(plan.lower_bound, part.lower_bound);
  }
  const bool is_limit = options.capacity != PlanOptions::kNone;
  // One part's proof is another's excuse: none has to be smaller than the largest must be.
  std::vector<Candidate> candidates;
  std::uint64_t goal = is_limit ? std::max(options.capacity, plan.lower_bound) : plan.lower_bound;
  for (const ArenaPart& part : parts) {
    candidates.push_back({&part, plan_greedily(part, goal), part.lower_bound});
  }
  SearchBudget budget;
  budget.nodes = plan.lower_bound <= options.capacity ? options.nodes : 0;
  budget.stop = options.stop;
  const auto now = std::chrono::steady_clock::now();
  if (options.time < std::chrono::steady_clock::time_point::max() - now) {
    budget.end = now + options.time;
  }
  for (Candidate& candidate : candidates) {
    if (candidate.plan.bytes > goal && !budget.is_spent())
      improve(candidate, goal, is_limit, budget);
    if (!is_limit) goal = std::max(goal, std::max(candidate.lower_bound, candidate.plan.bytes));
    plan.lower_bound = std::max(plan.lower_bound, candidate.lower_bound);
    for (std::size_t i = 0; i < candidate.plan.offsets.size(); ++i) {
      plan.offsets[candidate.part->buffers[i].index] = candidate.plan.offsets[i];
    }
    if (candidate.plan.bytes <= plan.bytes) continue;
    plan.bytes = candidate.plan.bytes;
    plan.found_by = candidate.plan.order;
  }
  plan.nodes = budget.visited;
  if (plan.bytes > options.capacity) return too_large(plan, options);
  return plan;
}

Result<std::uint64_t> arena_lower_bound(std::span<const PlanBuffer> buffers) {
  if (Status status = check(buffers); !status.ok()) return status;
  std::uint64_t most = 0;
  for (const ArenaPart& part : split_in_time(buffers)) most = std::max(most, part.lower_bound);
  return most;
}

}  // namespace miniinfer
