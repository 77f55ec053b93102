// The pool as data.

#include "core/memory/pool/pool.hpp"
#include "core/memory/snapshot_places.hpp"

namespace miniinfer::pool {
namespace {

MemorySnapshot::State state_of(State state) {
  switch (state) {
    case State::Live:
      return MemorySnapshot::State::Active;
    case State::Held:
      return MemorySnapshot::State::PendingFree;
    default:
      return MemorySnapshot::State::Inactive;
  }
}

}  // namespace

MemorySnapshot Pool::snapshot() const {
  MemorySnapshot snapshot;
  snapshot.device = device_;
  snapshot.flat_address = upstream_->properties().flat_address;
  snapshot.memory = info();
  snapshot.pool = pool_stats();
  snapshot.stats = stats();
  Places places(snapshot.flat_address);
  const std::lock_guard slow(slow_);
  // What a thread has in its cache changes without the lock.
  const std::vector<ThreadCache*> closed = close_caches([](const ThreadCache&) { return true; });
  {
    const std::lock_guard lock(lock_);
    const auto stream_of = [&](std::uint16_t slot) {
      return reinterpret_cast<std::uintptr_t>(order_.stream(slot).handle);
    };
    const auto tag_of = [&](const Node& node) {
      return (node.tag & kTagSpecial) != 0 ? tags_[node.tag & kTagName] : std::string();
    };
    for (std::size_t lifetime = 0; lifetime < kLifetimes; ++lifetime) {
      const BlockMap& map = sections_[lifetime].map;
      for (const Range& range : map.ranges()) {
        bool in_segment = false;
        map.for_each(range, [&](NodeId, const Node& node) {
          if (node.state() == State::Hole) {
            in_segment = false;
            return;
          }
          if (!in_segment) {
            MemorySnapshot::Segment& begun = snapshot.segments.emplace_back();
            const std::byte* const host =
                range.host == nullptr ? nullptr : range.host + node.offset;
            begun.handle = range.handle;
            begun.offset = range.origin + node.offset;
            begun.address = places.address(begun.handle, begun.offset, host);
            begun.lifetime = static_cast<Lifetime>(lifetime);
            in_segment = true;
          }
          MemorySnapshot::Segment& segment = snapshot.segments.back();
          MemorySnapshot::Block& block = segment.blocks.emplace_back();
          block.offset = segment.bytes;
          block.bytes = node.bytes;
          block.state = state_of(node.state());
          const bool is_active = block.state == MemorySnapshot::State::Active;
          if (is_active) block.requested = node.use;
          if (!is_active) block.stream = stream_of(node.owner);
          if (is_active) block.tag = tag_of(node);
          segment.bytes += node.bytes;
        });
      }
    }
  }
  for (ThreadCache* cache : closed) cache->open();
  return snapshot;
}

}  // namespace miniinfer::pool
