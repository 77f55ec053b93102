// What the pool says of itself.

#include <algorithm>

#include "core/base/format.hpp"
#include "core/memory/pool/pool.hpp"
#include "core/memory/request.hpp"

namespace miniinfer::pool {

Status Pool::describe_failure(const Wanted& wanted, const Status& cause) noexcept {
  const MemoryInfo memory = info();
  std::uint64_t used = 0, free = 0, largest = 0, reserved = 0;
  std::string held;
  {
    const std::lock_guard lock(lock_);
    used = in_use();
    reserved = reserved_;
    free = reserved - used;
    for (const Section& section : sections_) {
      largest = std::max(largest, section.map.largest_free());
    }
    for (std::size_t slot = 1; slot < order_.end(); ++slot) {
      std::uint64_t bytes = 0;
      for (const Section& section : sections_) {
        bytes += section.map.owned_bytes(static_cast<std::uint16_t>(slot));
      }
      if (bytes == 0) continue;
      held += format("%s%s by stream %p", held.empty() ? "; held back: " : ", ",
                     format_bytes(bytes).c_str(),
                     order_.stream(static_cast<std::uint16_t>(slot)).handle);
    }
  }
  std::string text = "allocation of " + format_bytes(wanted.request->bytes);
  if (!wanted.request->tag.empty()) text += " for " + std::string(wanted.request->tag);
  text += format(
      " on %s failed: the pool has %s in use of %s reserved, its largest free block is "
      "%s of %s (fragmentation %.0f%%); the device has %s of %s free%s. %s",
      device_.c_str(), format_bytes(used).c_str(), format_bytes(reserved).c_str(),
      format_bytes(largest).c_str(), format_bytes(free).c_str(),
      free == 0 ? 0.0 : 100.0 * (1.0 - static_cast<double>(largest) / static_cast<double>(free)),
      format_bytes(memory.free_bytes).c_str(), format_bytes(memory.total_bytes).c_str(),
      held.c_str(), std::string(cause.message()).c_str());
  return {cause.code(), std::move(text), std::string(cause.hint())};
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
  for (const ThreadCache* cache : caches_) stats.cached_bytes += cache->held_bytes.read();
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
