// Streams as the pool knows them: told, forgotten, recorded.

#include <algorithm>

#include "core/base/format.hpp"
#include "core/memory/pool/pool.hpp"

namespace miniinfer::pool {

Status Pool::add_stream(Stream stream) noexcept {
  if (stream.handle == nullptr || !upstream_->properties().ordered) return {};
  const std::lock_guard slow(slow_);
  const std::lock_guard lock(lock_);
  const std::uint16_t slot = order_.add(stream);
  if (slot == StreamOrder::kUnknown) {
    return {Code::FailedPrecondition,
            format("the pool of %s has %zu streams, as many as it can tell apart", device_.c_str(),
                   StreamOrder::kMost),
            "remove_stream() those that are not in use"};
  }
  for (Section& section : sections_) section.map.add_owner(slot);
  return {};
}

void Pool::remove_stream(Stream stream) noexcept {
  if (stream.handle == nullptr || !upstream_->properties().ordered) return;
  const std::lock_guard slow(slow_);
  const std::vector<ThreadCache*> closed = close_caches([](const ThreadCache&) { return true; });
  std::vector<StreamOrder::Recorded> events;
  {
    const std::lock_guard lock(lock_);
    for (ThreadCache* cache : closed) {
      if (ThreadCache::Shelf* shelf = cache->shelf(stream.handle)) empty(*cache, *shelf);
      cache->remove_shelf(stream.handle);
    }
    const std::uint16_t slot = order_.find(stream);
    if (slot != StreamOrder::kUnknown) {
      events = order_.remove(slot);
      settle(slot);
    }
  }
  for (ThreadCache* cache : closed) cache->open();
  drop(events);
}

void Pool::synced(Stream stream) noexcept {
  std::vector<StreamOrder::Recorded> events;
  {
    const std::lock_guard lock(lock_);
    const std::uint16_t slot = slot_of(stream);
    if (slot == StreamOrder::kNobody || slot == StreamOrder::kUnknown) return;
    events = order_.synced(slot);
    settle(slot);
  }
  if (events.empty()) return;
  const std::lock_guard slow(slow_);
  drop(events);
}

void Pool::record_use(const Block& block, Stream stream) noexcept {
  const std::lock_guard lock(lock_);
  const std::uint16_t slot = slot_of(stream);
  Node* const node = find_live(block);
  if (node == nullptr || slot == StreamOrder::kNobody || slot == StreamOrder::kUnknown) return;
  node->tag |= kTagUsed;
  std::vector<std::uint16_t>& uses = extra_uses_[static_cast<NodeId>(block.token)];
  if (std::find(uses.begin(), uses.end(), slot) == uses.end()) uses.push_back(slot);
}

void Pool::hold_back(NodeId id, std::uint16_t slot) noexcept {
  Node& node = nodes_[id];
  node.enter(State::Held);
  if (order_.captures(slot)) {
    for (auto& [capture, entry] : captures_) {
      if (entry.slot == slot && entry.recording) entry.held.push_back(id);
    }
    return;
  }
  Waiting waiting{id, slot, order_.epoch(slot), {}};
  const auto uses = extra_uses_.extract(id);
  for (const std::uint16_t user : uses.mapped()) {
    waiting.uses.emplace_back(user, order_.epoch(user));
  }
  waiting_.push_back(std::move(waiting));
}

Result<CaptureId> Pool::begin_capture(Stream stream) noexcept {
  const std::lock_guard lock(lock_);
  const std::uint16_t slot = slot_of(stream);
  if (slot == StreamOrder::kNobody || slot == StreamOrder::kUnknown || order_.captures(slot)) {
    return Status(
        Code::FailedPrecondition,
        format("a capture on stream %p of %s: the pool %s", stream.handle, device_.c_str(),
               slot == StreamOrder::kUnknown  ? "does not know the stream"
               : slot == StreamOrder::kNobody ? "has no order on it"
                                              : "has one on it already"));
  }
  order_.set_captures(slot, true);
  captures_.emplace(next_capture_, Capture{slot, true, {}});
  return next_capture_++;
}

void Pool::end_capture(CaptureId capture) noexcept {
  const std::lock_guard lock(lock_);
  const auto found = captures_.find(capture);
  if (found == captures_.end() || !found->second.recording) return;
  found->second.recording = false;
  order_.set_captures(found->second.slot, false);
}

void Pool::release_capture(CaptureId capture) noexcept {
  end_capture(capture);
  const std::lock_guard lock(lock_);
  const auto found = captures_.find(capture);
  if (found == captures_.end()) return;
  const Capture entry = std::move(found->second);
  captures_.erase(found);
  for (const NodeId id : entry.held) give_back(id, entry.slot);
}

}  // namespace miniinfer::pool
