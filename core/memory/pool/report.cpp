// What the pool says of itself.

#include <algorithm>

#include "core/base/format.hpp"
#include "core/memory/pool/pool.hpp"
#include "core/memory/request.hpp"

namespace miniinfer::pool {

Status Pool::describe_failure(const Wanted& wanted, const Status& cause,
                              const Tried& tried) noexcept {
  MemoryReport report;
  if (const auto refused = cause.memory_report()) report = *refused;  // which limit
  const MemoryInfo memory = info();
  report.device = device_;
  report.tag = wanted.request->tag;
  report.asked_bytes = wanted.request->bytes;
  report.device_free_bytes = memory.free_bytes;
  report.device_total_bytes = memory.total_bytes;
  for (std::size_t i = 0; i < tried.count; ++i) {
    report.steps.push_back({tried.steps[i].first, tried.steps[i].second});
  }
  for (const ThreadCache* cache : caches_) report.cached_bytes += cache->held_bytes();
  {
    const std::lock_guard lock(lock_);
    report.allocated_bytes = in_use();
    report.reserved_bytes = reserved_;
    for (const Section& section : sections_) {
      report.largest_free_bytes = std::max(report.largest_free_bytes, section.map.largest_free());
    }
    for (std::uint16_t slot = 1; slot < order_.end(); ++slot) {
      std::uint64_t bytes = 0;
      for (const Section& section : sections_) bytes += section.map.owned_bytes(slot);
      for (const Waiting& waiting : waiting_) {
        if (waiting.owner == slot) bytes += nodes_[waiting.node].bytes;
      }
      if (bytes == 0) continue;
      report.held_back.push_back({format("stream %p", order_.stream(slot).handle), bytes});
    }
    report.tags = top_tags();
  }
  const std::uint64_t free = report.reserved_bytes - report.allocated_bytes;
  if (free != 0) {
    report.fragmentation =
        1.0 - static_cast<double>(report.largest_free_bytes) / static_cast<double>(free);
  }
  std::string text = "allocation of " + format_bytes(report.asked_bytes);
  if (!report.tag.empty()) text += " for " + report.tag;
  text += format(" on %s failed, the pool has %s in use of %s reserved: %s", device_.c_str(),
                 format_bytes(report.allocated_bytes).c_str(),
                 format_bytes(report.reserved_bytes).c_str(), std::string(cause.message()).c_str());
  return Status(cause.code(), std::move(text), std::string(cause.hint()))
      .with_memory_report(std::make_shared<const MemoryReport>(std::move(report)));
}

std::vector<MemoryReport::Share> Pool::top_tags() const noexcept {
  constexpr std::size_t kMost = 10;
  std::vector<MemoryReport::Share> shares;
  for (const std::string& tag : tags_) shares.push_back({tag.empty() ? "without a name" : tag});
  shares.push_back({"transient"});
  for (const Section& section : sections_) {
    for (const Range& range : section.map.ranges()) {
      section.map.for_each(range, [&](NodeId, const Node& node) {
        if (node.state() != State::Live) return;
        const std::size_t name =
            (node.tag & kTagSpecial) != 0 ? node.tag & kTagName : shares.size() - 1;
        shares[name].bytes += node.bytes;
      });
    }
  }
  std::erase_if(shares, [](const MemoryReport::Share& share) { return share.bytes == 0; });
  std::stable_sort(shares.begin(), shares.end(),
                   [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  if (shares.size() > kMost) shares.resize(kMost);
  return shares;
}

MemoryStats Pool::stats() const noexcept {
  const PoolStats pool = pool_stats();
  MemoryStats stats;
  stats.allocated_bytes = pool.requested_bytes.current;
  stats.peak_allocated_bytes = std::max(pool.allocated_bytes.peak, stats.allocated_bytes);
  stats.allocations = pool.allocation.allocated;
  stats.frees = pool.allocation.freed;
  stats.failures = pool.num_ooms;
  return stats;
}

PoolStats Pool::pool_stats() const noexcept {
  Counters sum;
  PoolStats stats;
  const std::lock_guard slow(slow_);
  const std::lock_guard lock(lock_);
  for (const ThreadCache* cache : caches_) stats.cached_bytes += cache->held_bytes();
  // What was taken after what was given back: no reader sees more of the second.
  sum.add_frees(shared_);
  for (const ThreadCache* cache : caches_) sum.add_frees(cache->counters);
  sum.add_allocations(shared_);
  for (const ThreadCache* cache : caches_) sum.add_allocations(cache->counters);
  const auto fill = [](PoolCounter& counter, std::uint64_t in, std::uint64_t out,
                       std::uint64_t peak) {
    counter = {in - out, std::max(peak, in - out), in, out};
  };
  fill(stats.allocation, sum.allocations.read(), sum.frees.read(), 0);
  fill(stats.allocated_bytes, sum.allocated_bytes.read(), sum.freed_bytes.read(), peak_in_use_);
  fill(stats.requested_bytes, sum.requested_bytes.read(), sum.returned_bytes.read(), 0);
  fill(stats.segment, device_allocs_, device_frees_, peak_segments_);
  fill(stats.reserved_bytes, reserved_total_, released_total_, peak_reserved_);
  for (const Section& section : sections_) {
    stats.largest_free_bytes = std::max(stats.largest_free_bytes, section.map.largest_free());
    stats.inactive_split_bytes += section.map.free_bytes();
  }
  stats.num_alloc_retries = retries_;
  stats.num_ooms = ooms_;
  stats.num_sync_all_streams = syncs_;
  stats.num_device_alloc = device_allocs_;
  stats.num_device_free = device_frees_;
  stats.num_moves = moves_;
  stats.num_driver_calls = driver_calls_;
  stats.num_refused_frees = refused_frees_;
  return stats;
}

std::string Pool::check() const {
  const std::lock_guard slow(slow_);
  const std::lock_guard lock(lock_);
  std::uint64_t reserved = 0, moving = 0;
  for (const Section& section : sections_) {
    std::string wrong = section.map.check();
    if (!wrong.empty()) return wrong;
    for (const Range& range : section.map.ranges()) {
      if (&range != section.range) reserved += range.bytes;
    }
    std::uint64_t end = 0;
    for (const auto& [offset, piece] : section.pieces) {
      if (offset < end || piece.bytes % granule_ != 0 || offset % granule_ != 0) {
        return format("piece at %llu lies over another", static_cast<unsigned long long>(offset));
      }
      end = offset + piece.bytes;
      reserved += piece.bytes;
    }
    for (const Range& range : section.map.ranges()) {
      section.map.for_each(range, [&](NodeId, const Node& node) {
        moving += node.state() == State::Moving ? node.bytes : 0;
      });
    }
    if (section.range == nullptr) continue;
    // Holes and pieces cover the range between them.
    auto piece = section.pieces.begin();
    section.map.for_each(*section.range, [&](NodeId id, const Node& node) {
      if (!wrong.empty() || node.state() != State::Hole) return;
      while (piece != section.pieces.end() && piece->first + piece->second.bytes <= node.offset) {
        ++piece;
      }
      if (piece != section.pieces.end() && piece->first < node.offset + node.bytes) {
        wrong = format("hole %u has memory", id);
      }
    });
    if (!wrong.empty()) return wrong;
  }
  if (reserved != reserved_) return "the sum of reserved bytes is wrong";
  if (moving != moving_) return "the sum of bytes out of the map is wrong";
  if (in_use() > reserved_) return "more is free than reserved";
  return {};
}

}  // namespace miniinfer::pool
