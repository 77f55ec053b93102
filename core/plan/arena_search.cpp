#include "core/plan/arena_search.hpp"

#include <algorithm>
#include <numeric>

#include "core/base/checked_math.hpp"

namespace miniinfer {
namespace {

using Buffer = ArenaPart::Buffer;

// The search is as deep as there are buffers, and looks at most of them in every node: beyond this
// neither the stack nor any budget would do.
constexpr std::size_t kMostBuffers = 4096;
constexpr std::size_t kMostPairs = 1 << 22;

// The greatest goes first.
using Key = std::uint64_t (*)(const Buffer&);
constexpr Key kLoad = [](const Buffer& b) { return b.load; };
constexpr Key kWidth = [](const Buffer& b) { return b.lifetime; };
constexpr Key kArea = [](const Buffer& b) { return b.bytes * std::uint64_t{b.end - b.begin}; };
constexpr Key kSize = [](const Buffer& b) { return b.bytes; };
constexpr Key kRanks[][3] = {
    {kWidth, kArea, kLoad}, {kLoad, kArea, kWidth}, {kLoad, kWidth, kArea}, {kSize, kWidth, kLoad}};

}  // namespace

class ArenaSearch::Impl {
 public:
  explicit Impl(const ArenaPart& part)
      : buffers_(part.buffers),
        first_neighbour_(buffers_.size() + 1),
        lowest_(buffers_.size()),
        release_(buffers_.size()),
        rank_(buffers_.size()),
        is_placed_(buffers_.size()),
        sums_(part.sections) {}

  // Buffers are sorted by begin, so those that i meets first follow it without a gap.
  bool find_neighbours() {
    std::vector<std::uint32_t> until(buffers_.size());
    std::vector<std::uint32_t> counts(buffers_.size());
    std::size_t pairs = 0;
    for (std::uint32_t i = 0; i < buffers_.size(); ++i) {
      until[i] = i + 1;
      while (until[i] < buffers_.size() && buffers_[until[i]].begin < buffers_[i].end) {
        ++counts[until[i]++];
      }
      counts[i] += until[i] - i - 1;
      pairs += until[i] - i - 1;
      if (pairs > kMostPairs) return false;
    }
    std::inclusive_scan(counts.begin(), counts.end(), first_neighbour_.begin() + 1);
    neighbours_.resize(first_neighbour_.back());
    std::vector<std::uint32_t> next(first_neighbour_.begin(), first_neighbour_.end() - 1);
    for (std::uint32_t i = 0; i < buffers_.size(); ++i) {
      for (std::uint32_t j = i + 1; j < until[i]; ++j) {
        neighbours_[next[i]++] = j;
        neighbours_[next[j]++] = i;
      }
    }
    return true;
  }

  Outcome fit(std::uint64_t capacity, std::uint64_t limit, SearchBudget& budget, PartPlan& plan) {
    capacity_ = capacity;
    budget_ = &budget;
    for (const auto& keys : kRanks) {
      rank_by(keys);
      std::fill(lowest_.begin(), lowest_.end(), 0);
      std::fill(is_placed_.begin(), is_placed_.end(), 0);
      left_ = std::min(limit, budget.nodes - std::min(budget.nodes, budget.visited));
      if (left_ == 0 || budget.is_spent()) return Outcome::Unknown;
      std::vector<std::uint32_t> all(buffers_.size());
      std::iota(all.begin(), all.end(), 0);
      const Outcome outcome = search(all, 0, 0);
      if (outcome == Outcome::Unknown) continue;
      if (outcome == Outcome::Fits) {
        plan.offsets = lowest_;
        plan.bytes = 0;
        for (std::size_t i = 0; i < buffers_.size(); ++i) {
          plan.bytes = std::max(plan.bytes, lowest_[i] + buffers_[i].bytes);
        }
      }
      return outcome;
    }
    return Outcome::Unknown;
  }

 private:
  struct Change {
    std::uint32_t buffer;
    std::uint64_t lowest;
  };

  std::span<const std::uint32_t> neighbours(std::uint32_t i) const {
    return std::span(neighbours_)
        .subspan(first_neighbour_[i], first_neighbour_[i + 1] - first_neighbour_[i]);
  }

  void rank_by(const Key (&keys)[3]) {
    std::vector<std::uint32_t> order(buffers_.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
      for (const Key key : keys) {
        const std::uint64_t left = key(buffers_[a]);
        const std::uint64_t right = key(buffers_[b]);
        if (left != right) return left > right;
      }
      return false;
    });
    for (std::uint32_t i = 0; i < order.size(); ++i) rank_[order[i]] = i;
  }

  // Whether `i` comes before the buffer placed last, which it must not in this order.
  bool is_passed(std::uint32_t i, std::uint64_t offset, std::uint32_t rank) const {
    return lowest_[i] < offset || (lowest_[i] == offset && rank_[i] < rank);
  }

  // Sets the lowest offset that each of `open` can still get. False where one that was passed would
  // leave a hole.
  bool find_releases(std::span<const std::uint32_t> open, std::uint64_t offset,
                     std::uint32_t rank) {
    for (const std::uint32_t i : open) {
      release_[i] = std::max(lowest_[i], offset);
    }
    for (const std::uint32_t i : open) {
      if (!is_passed(i, offset, rank)) continue;
      const std::uint64_t top = lowest_[i] + buffers_[i].bytes;
      std::uint64_t raised = ~std::uint64_t{0};
      for (const std::uint32_t k : neighbours(i)) {
        if (!is_placed_[k] && release_[k] < top) {
          raised = std::min(raised, release_[k] + buffers_[k].bytes);
        }
      }
      if (raised == ~std::uint64_t{0}) return false;
      release_[i] = align_up(raised, buffers_[i].alignment);
    }
    return true;
  }

  // Whether every section can hold what is open in it, none of it below its release.
  bool has_room(std::span<const std::uint32_t> open) {
    order_.assign(open.begin(), open.end());
    std::sort(order_.begin(), order_.end(),
              [&](std::uint32_t a, std::uint32_t b) { return release_[a] > release_[b]; });
    std::uint32_t end = 0;
    for (const std::uint32_t i : open) end = std::max(end, buffers_[i].end);
    std::fill(sums_.begin() + buffers_[open[0]].begin, sums_.begin() + end, 0);
    for (const std::uint32_t i : order_) {
      const Buffer& buffer = buffers_[i];
      if (release_[i] > capacity_) return false;
      const std::uint64_t room = capacity_ - release_[i];
      std::uint64_t most = 0;
      for (std::uint32_t s = buffer.begin; s < buffer.end; ++s) {
        sums_[s] += buffer.bytes;
        most = std::max(most, sums_[s]);
      }
      if (most > room) return false;
    }
    return true;
  }

  // Counts a node. False once the limit is reached or the budget spent.
  bool visit() {
    if (left_ == 0) return false;
    --left_;
    if ((++budget_->visited & 255) == 0 && budget_->is_spent()) left_ = 0;
    return true;
  }

  bool place(std::uint32_t buffer) {
    is_placed_[buffer] = 1;
    const std::uint64_t top = lowest_[buffer] + buffers_[buffer].bytes;
    for (const std::uint32_t k : neighbours(buffer)) {
      if (is_placed_[k] || lowest_[k] >= top) continue;
      changes_.push_back({k, lowest_[k]});
      lowest_[k] = align_up(top, buffers_[k].alignment);
      if (lowest_[k] + buffers_[k].bytes > capacity_) return false;
    }
    return true;
  }

  void undo(std::uint32_t buffer, std::size_t changes) {
    for (; changes_.size() > changes; changes_.pop_back()) {
      lowest_[changes_.back().buffer] = changes_.back().lowest;
    }
    is_placed_[buffer] = 0;
  }

  // Places all of `open`, which is sorted by begin and connected, after a buffer at `offset` of
  // `rank`. Leaves the offsets in lowest_ where it fits, and all as it was where it does not.
  Outcome search(const std::vector<std::uint32_t>& open, std::uint64_t offset, std::uint32_t rank) {
    std::uint64_t lowest_top = ~std::uint64_t{0};
    for (const std::uint32_t i : open) {
      lowest_top = std::min(lowest_top, lowest_[i] + buffers_[i].bytes);
    }
    std::vector<std::uint32_t> candidates;
    for (const std::uint32_t i : open) {
      if (lowest_[i] < lowest_top && !is_passed(i, offset, rank)) candidates.push_back(i);
    }
    std::sort(candidates.begin(), candidates.end(), [&](std::uint32_t a, std::uint32_t b) {
      return lowest_[a] != lowest_[b] ? lowest_[a] < lowest_[b] : rank_[a] < rank_[b];
    });
    for (const std::uint32_t next : candidates) {
      if (!visit()) return Outcome::Unknown;
      const std::size_t changes = changes_.size();
      Outcome outcome = Outcome::Impossible;
      if (place(next)) outcome = search_rest(open, next);
      if (outcome != Outcome::Impossible) return outcome;
      undo(next, changes);
    }
    return Outcome::Impossible;
  }

  Outcome search_rest(const std::vector<std::uint32_t>& open, std::uint32_t placed) {
    const std::uint64_t offset = lowest_[placed];
    std::vector<std::vector<std::uint32_t>> groups;
    std::uint32_t end = 0;
    for (const std::uint32_t i : open) {
      if (i == placed) continue;
      if (groups.empty() || buffers_[i].begin >= end) groups.emplace_back();
      groups.back().push_back(i);
      end = std::max(end, buffers_[i].end);
    }
    for (const auto& group : groups) {
      if (!find_releases(group, offset, rank_[placed]) || !has_room(group)) {
        return Outcome::Impossible;
      }
    }
    std::sort(groups.begin(), groups.end(),
              [](const auto& a, const auto& b) { return a.size() < b.size(); });
    for (std::size_t done = 0; done < groups.size(); ++done) {
      const Outcome outcome = search(groups[done], offset, rank_[placed]);
      if (outcome == Outcome::Fits) continue;
      for (std::size_t i = 0; i < done; ++i) {
        for (const std::uint32_t buffer : groups[i]) is_placed_[buffer] = 0;
      }
      return outcome;
    }
    return Outcome::Fits;
  }

  const std::vector<Buffer>& buffers_;
  std::vector<std::uint32_t> first_neighbour_, neighbours_;
  std::uint64_t capacity_ = 0;
  SearchBudget* budget_ = nullptr;
  std::uint64_t left_ = 0;

  std::vector<std::uint64_t> lowest_;   // by buffer: on top of those placed; its offset once placed
  std::vector<std::uint64_t> release_;  // by buffer: the lowest offset it can still get
  std::vector<std::uint32_t> rank_;
  std::vector<std::uint8_t> is_placed_;
  std::vector<Change> changes_;
  std::vector<std::uint64_t> sums_;  // by section
  std::vector<std::uint32_t> order_;
};

ArenaSearch::ArenaSearch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ArenaSearch::ArenaSearch(ArenaSearch&&) noexcept = default;
ArenaSearch::~ArenaSearch() = default;

std::optional<ArenaSearch> ArenaSearch::make(const ArenaPart& part) {
  if (part.buffers.size() > kMostBuffers) return std::nullopt;
  auto impl = std::make_unique<Impl>(part);
  if (!impl->find_neighbours()) return std::nullopt;
  return ArenaSearch(std::move(impl));
}

ArenaSearch::Outcome ArenaSearch::fit(std::uint64_t capacity, std::uint64_t limit,
                                      SearchBudget& budget, PartPlan& plan) {
  return impl_->fit(capacity, limit, budget, plan);
}

}  // namespace miniinfer
