// What a tracker knows, told.

#include <algorithm>
#include <map>

#include "core/base/format.hpp"
#include "core/base/log.hpp"
#include "core/memory/tracking/tracker.hpp"
#include "miniinfer/text.hpp"

namespace miniinfer::tracking {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

std::vector<std::size_t> order_of(const std::vector<std::uint64_t>& keys) {
  std::vector<std::pair<std::uint64_t, std::size_t>> pairs;
  for (const std::uint64_t key : keys) pairs.emplace_back(key, pairs.size());
  std::sort(pairs.begin(), pairs.end());
  std::vector<std::size_t> order;
  for (const auto& [key, index] : pairs) order.push_back(index);
  return order;
}

// The elements in the order of their keys, and of one key in the order in which they are. One sort
// for all: each of its own would be kilobytes.
template <class T>
std::vector<T> in_order(std::vector<T> elements, const std::vector<std::uint64_t>& keys) {
  std::vector<T> sorted;
  sorted.reserve(elements.size());
  for (const std::size_t i : order_of(keys)) sorted.push_back(std::move(elements[i]));
  return sorted;
}

const std::byte* host_of(std::uint64_t pointer) {
  return reinterpret_cast<const std::byte*>(static_cast<std::uintptr_t>(pointer));
}

}  // namespace

std::vector<std::shared_ptr<ThreadBook>> Tracker::books() const {
  const std::lock_guard lock(mutex_);
  return books_;
}

std::vector<std::string> Tracker::tag_names() const {
  const std::lock_guard lock(mutex_);
  return {tags_.begin(), tags_.end()};
}

MemoryStats Tracker::stats() const noexcept {
  const auto all = books();
  MemoryStats stats;
  std::uint64_t freed = 0;
  // What was taken after what was given back: no reader sees more of the second.
  for (const auto& book : all) {
    for (const TagCounters& tag : book->tags) {
      stats.frees += tag.frees.read();
      freed += tag.freed_bytes.read();
    }
  }
  std::int64_t high = 0;
  for (const auto& book : all) {
    for (const TagCounters& tag : book->tags) {
      stats.allocations += tag.allocations.read();
      stats.allocated_bytes += tag.allocated_bytes.read();
    }
    high = std::max(high, book->high.load(kRelaxed));
  }
  stats.allocated_bytes -= freed;
  const std::int64_t peak = std::max(peak_.load(kRelaxed), total_.load(kRelaxed) + high);
  stats.peak_allocated_bytes =
      std::max(static_cast<std::uint64_t>(std::max<std::int64_t>(peak, 0)), stats.allocated_bytes);
  stats.failures = failures_.load(kRelaxed);
  return stats;
}

std::vector<Tracker::Seen> Tracker::seen() const {
  std::vector<Seen> all;
  std::vector<std::uint64_t> keys;
  const NodeId end = nodes_.end();
  for (NodeId id = 0; id < end; ++id) {
    const Node& node = nodes_[id];
    const std::uint32_t word = node.word.load(std::memory_order_acquire);
    if ((word & 1) == 0) continue;
    const std::uint32_t thread_and_tag = node.thread_and_tag.load(kRelaxed);
    const Seen seen{node.handle.load(kRelaxed),
                    node.offset.load(kRelaxed),
                    node.bytes.load(kRelaxed),
                    node.stream.load(kRelaxed),
                    node.sequence.load(kRelaxed),
                    thread_and_tag & ((1u << Node::kTagShift) - 1),
                    static_cast<std::uint16_t>(thread_and_tag >> Node::kTagShift)};
    std::atomic_thread_fence(std::memory_order_acquire);
    if (node.word.load(kRelaxed) != word) continue;
    all.push_back(seen);
    keys.push_back(seen.sequence);
  }
  return in_order(std::move(all), keys);
}

std::vector<LiveBlock> Tracker::live_blocks() const {
  const std::vector<Seen> all = seen();
  const std::vector<std::string> names = tag_names();
  std::vector<LiveBlock> blocks;
  blocks.reserve(all.size());
  for (const Seen& one : all) {
    blocks.push_back(
        {names[one.tag], one.handle, one.offset, one.bytes, one.sequence, one.stream, one.thread});
  }
  return blocks;
}

std::vector<LiveGroup> Tracker::live_groups() const {
  const std::vector<Seen> all = seen();
  const std::vector<std::string> names = tag_names();
  std::map<std::pair<std::uint16_t, std::uint64_t>, std::uint64_t> counts;
  for (const Seen& one : all) ++counts[{one.tag, one.bytes}];
  std::vector<LiveGroup> groups;
  std::vector<std::uint64_t> keys;
  for (const auto& [key, count] : counts) {
    groups.push_back({names[key.first], key.second, count});
    keys.push_back(~(key.second * count));
  }
  return in_order(std::move(groups), keys);
}

std::vector<TagStats> Tracker::tags() const {
  const auto all = books();
  const std::vector<std::string> names = tag_names();
  std::vector<TagStats> stats;
  std::vector<std::uint64_t> keys;
  for (std::size_t id = 0; id < names.size(); ++id) {
    TagStats tag;
    tag.tag = names[id];
    std::uint64_t frees = 0, freed = 0;
    for (const auto& book : all) {
      frees += book->tags[id].frees.read();
      freed += book->tags[id].freed_bytes.read();
    }
    for (const auto& book : all) {
      tag.allocations += book->tags[id].allocations.read();
      tag.allocated_bytes += book->tags[id].allocated_bytes.read();
    }
    tag.blocks = tag.allocations - frees;
    tag.bytes = tag.allocated_bytes - freed;
    if (tag.allocations == 0) continue;
    keys.push_back(~tag.bytes);
    stats.push_back(std::move(tag));
  }
  return in_order(std::move(stats), keys);
}

std::vector<MemoryEvent> Tracker::read_events(Places& places) const {
  const auto all = books();
  const std::vector<std::string> names = tag_names();
  std::vector<MemoryEvent> events;
  std::vector<std::uint64_t> keys;
  for (const auto& book : all) {
    for (std::size_t i = 0; i < book->ring_size; ++i) {
      const RingEvent& from = book->ring[i];
      const std::uint64_t number = from.number.load(std::memory_order_acquire);
      if (number == 0) continue;
      const std::uint64_t time = from.time.load(kRelaxed);
      const std::uint64_t handle = from.handle.load(kRelaxed), offset = from.offset.load(kRelaxed);
      const std::uint64_t host = from.host.load(kRelaxed);
      MemoryEvent event;
      event.kind = static_cast<MemoryEvent::Kind>(from.kind.load(kRelaxed));
      event.time = std::chrono::steady_clock::time_point(
          std::chrono::nanoseconds(static_cast<std::int64_t>(time)));
      event.bytes = from.bytes.load(kRelaxed);
      event.stream = from.stream.load(kRelaxed);
      event.thread = from.thread.load(kRelaxed);
      const std::uint16_t tag = from.tag.load(kRelaxed);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (from.number.load(kRelaxed) != number || tag >= names.size()) continue;
      event.tag = names[tag];
      if (handle != 0) event.address = places.address(handle, offset, host_of(host));
      // At the same instant a block is given back before it is given out again.
      keys.push_back(time * 2 + (event.kind == MemoryEvent::Kind::Free ? 0 : 1));
      events.push_back(std::move(event));
    }
  }
  return in_order(std::move(events), keys);
}

MemorySnapshot Tracker::snapshot() const {
  MemorySnapshot snapshot = upstream_->snapshot();
  const std::vector<Seen> all = seen();
  const std::vector<std::string> names = tag_names();
  Places places(snapshot);
  std::map<std::uint64_t, MemorySnapshot::Segment*> by_address;
  for (MemorySnapshot::Segment& segment : snapshot.segments) by_address[segment.address] = &segment;
  const auto find_block = [&](std::uint64_t address) -> MemorySnapshot::Block* {
    auto at = by_address.upper_bound(address);
    if (at == by_address.begin()) return nullptr;
    MemorySnapshot::Segment& segment = *std::prev(at)->second;
    const std::uint64_t offset = address - segment.address;
    const auto block = std::lower_bound(
        segment.blocks.begin(), segment.blocks.end(), offset,
        [](const MemorySnapshot::Block& b, std::uint64_t wanted) { return b.offset < wanted; });
    if (block == segment.blocks.end() || block->offset != offset) return nullptr;
    return block->state == MemorySnapshot::State::Active ? &*block : nullptr;
  };
  std::vector<MemorySnapshot::Segment> own;
  for (const Seen& one : all) {
    const std::uint64_t address = places.address(one.handle, one.offset, nullptr);
    if (!by_address.empty()) {
      MemorySnapshot::Block* const block = find_block(address);
      if (block == nullptr || block->bytes < one.bytes) continue;  // given back meanwhile
      block->requested = one.bytes;
      block->stream = one.stream;
      block->tag = names[one.tag];
      continue;
    }
    MemorySnapshot::Segment segment;
    segment.address = address;
    segment.bytes = one.bytes;
    segment.handle = one.handle;
    segment.offset = one.offset;
    segment.blocks.push_back(
        {0, one.bytes, one.bytes, MemorySnapshot::State::Active, one.stream, names[one.tag]});
    own.push_back(std::move(segment));
  }
  if (!own.empty()) snapshot.segments = std::move(own);
  if (snapshot.device.empty()) snapshot.device = options_.name;
  snapshot.stats = stats();
  if (options_.history != 0) snapshot.events = read_events(places);
  return snapshot;
}

void Tracker::report_leaks() const {
  constexpr std::size_t kMost = 8;
  const std::vector<LiveGroup> groups = live_groups();
  if (groups.empty()) return;
  std::uint64_t blocks = 0, bytes = 0;
  std::string list;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const LiveGroup& group = groups[i];
    blocks += group.blocks;
    bytes += group.blocks * group.block_bytes;
    if (i >= kMost) continue;
    list += (i == 0 ? "" : ", ") + std::to_string(group.blocks) + " x " +
            format_bytes(group.block_bytes) + " " +
            (group.tag.empty() ? "without a name" : "for " + printable(group.tag));
  }
  if (groups.size() > kMost) list += format(" and %zu more kinds", groups.size() - kMost);
  log(MINIINFER_LOG_ERROR, "memory",
      format("the %s ends with %llu blocks (%s) in use: %s", name().c_str(),
             static_cast<unsigned long long>(blocks), format_bytes(bytes).c_str(), list.c_str()));
}

}  // namespace miniinfer::tracking
