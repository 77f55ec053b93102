#include "miniinfer/memory_planner.hpp"

#include <algorithm>
#include <numeric>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"

namespace miniinfer {
namespace {

struct Placed {
  std::uint64_t begin, end;
  std::uint32_t first, last;
};

// The lowest offset of the tightest gap between blocks alive at the same time that has room, or the
// end of the last one. `placed` is sorted by begin.
std::uint64_t find_offset(const std::vector<Placed>& placed, std::uint64_t bytes,
                          const PlanBuffer& buffer) {
  std::uint64_t end = 0;
  std::uint64_t best = 0;
  std::uint64_t best_gap = ~std::uint64_t{0};
  for (const Placed& other : placed) {
    if (other.first > buffer.last || other.last < buffer.first) continue;
    if (other.begin > end) {
      const std::uint64_t gap = other.begin - end;
      if (gap >= bytes && gap < best_gap) {
        best = end;
        best_gap = gap;
      }
    }
    end = std::max(end, other.end);
  }
  return best_gap != ~std::uint64_t{0} ? best : end;
}

std::uint64_t most_alive(std::span<const PlanBuffer> buffers,
                         std::span<const std::uint64_t> sizes) {
  struct Change {
    std::uint32_t step;
    bool birth;
    std::uint64_t bytes;
  };
  std::vector<Change> changes;
  changes.reserve(buffers.size() * 2);
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    changes.push_back({buffers[i].first, true, sizes[i]});
    changes.push_back({buffers[i].last, false, sizes[i]});
  }
  // A buffer is alive during its last step, so births of a step come before deaths of it.
  std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) {
    return a.step != b.step ? a.step < b.step : a.birth && !b.birth;
  });
  std::uint64_t alive = 0;
  std::uint64_t most = 0;
  for (const Change& change : changes) {
    alive = change.birth ? alive + change.bytes : alive - change.bytes;
    most = std::max(most, alive);
  }
  return most;
}

ArenaPlan place_in_order(std::span<const PlanBuffer> buffers, std::span<const std::uint64_t> sizes,
                         std::span<const std::uint32_t> order) {
  ArenaPlan plan;
  plan.offsets.resize(buffers.size());
  std::vector<Placed> placed;
  placed.reserve(buffers.size());
  for (const std::uint32_t index : order) {
    if (sizes[index] == 0) continue;
    const PlanBuffer& buffer = buffers[index];
    const std::uint64_t offset = find_offset(placed, sizes[index], buffer);
    plan.offsets[index] = offset;
    plan.bytes = std::max(plan.bytes, offset + sizes[index]);
    const Placed block{offset, offset + sizes[index], buffer.first, buffer.last};
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), block,
                         [](const Placed& a, const Placed& b) { return a.begin < b.begin; }),
        block);
  }
  return plan;
}

}  // namespace

Result<ArenaPlan> plan_arena(std::span<const PlanBuffer> buffers, std::uint64_t alignment) {
  if (!is_power_of_two(alignment)) {
    return Status(Code::InvalidArgument, format("alignment %llu is no power of two",
                                                static_cast<unsigned long long>(alignment)));
  }
  std::vector<std::uint64_t> sizes(buffers.size());
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    if (buffers[i].last < buffers[i].first) {
      return Status(Code::InvalidArgument, format("buffer %zu dies before it is born", i));
    }
    if (!checked_align_up(buffers[i].bytes, alignment, &sizes[i]) ||
        !checked_add(total, sizes[i], &total) || total >= std::uint64_t{1} << 63) {
      return Status(Code::LimitExceeded, "the buffers together do not fit in 63 bits");
    }
  }

  // No single order wins on all graphs; a handful covers the ones seen (research: within 1% of the
  // bound on 16 of 18 networks for the first, DenseNet needs the others).
  const auto lifetime = [&](std::uint32_t i) {
    return std::uint64_t{buffers[i].last} - buffers[i].first + 1;
  };
  using Key = std::uint64_t (*)(std::uint64_t size, std::uint64_t life, std::uint64_t first);
  static constexpr Key kOrders[] = {
      [](std::uint64_t size, std::uint64_t, std::uint64_t) { return size; },
      [](std::uint64_t size, std::uint64_t life, std::uint64_t) { return size * life; },
      [](std::uint64_t, std::uint64_t life, std::uint64_t) { return life; },
      [](std::uint64_t, std::uint64_t, std::uint64_t first) { return ~first; },
  };
  const std::uint64_t lower_bound = most_alive(buffers, sizes);
  std::vector<std::uint32_t> order(buffers.size());
  ArenaPlan best;
  best.bytes = ~std::uint64_t{0};
  for (const Key key : kOrders) {
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
      const std::uint64_t key_a = key(sizes[a], lifetime(a), buffers[a].first);
      const std::uint64_t key_b = key(sizes[b], lifetime(b), buffers[b].first);
      if (key_a != key_b) return key_a > key_b;
      return sizes[a] != sizes[b] ? sizes[a] > sizes[b] : buffers[a].first < buffers[b].first;
    });
    ArenaPlan plan = place_in_order(buffers, sizes, order);
    if (plan.bytes < best.bytes) best = std::move(plan);
    if (best.bytes == lower_bound) break;
  }
  best.lower_bound = lower_bound;
  return best;
}

Status verify_arena(std::span<const PlanBuffer> buffers, const ArenaPlan& plan) {
  if (plan.offsets.size() != buffers.size()) {
    return {Code::Internal,
            format("a plan of %zu offsets for %zu buffers", plan.offsets.size(), buffers.size())};
  }
  std::vector<std::uint32_t> order(buffers.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return plan.offsets[a] < plan.offsets[b]; });
  for (std::size_t i = 0; i < order.size(); ++i) {
    const PlanBuffer& a = buffers[order[i]];
    const std::uint64_t end = plan.offsets[order[i]] + a.bytes;
    if (end < a.bytes || end > plan.bytes) {
      return {Code::Internal, format("buffer %u lies outside the arena", order[i])};
    }
    for (std::size_t j = i + 1; j < order.size() && plan.offsets[order[j]] < end; ++j) {
      const PlanBuffer& b = buffers[order[j]];
      if (b.bytes > 0 && a.first <= b.last && b.first <= a.last) {
        return {Code::Internal,
                format("buffers %u and %u overlap while both are alive", order[i], order[j])};
      }
    }
  }
  return {};
}

}  // namespace miniinfer
