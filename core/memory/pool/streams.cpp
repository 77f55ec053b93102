// Streams as the pool knows them: told, forgotten, recorded.

#include <algorithm>

#include "core/base/format.hpp"
#include "core/base/log.hpp"
#include "core/memory/pool/pool.hpp"

namespace miniinfer::pool {

Status Pool::add_stream(Stream stream) noexcept {
  if (stream.handle == nullptr || !ordered_) return {};
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
  if (stream.handle == nullptr || !ordered_) return;
  const std::lock_guard slow(slow_);
  const std::vector<ThreadCache*> closed = close_shelves(stream);
  std::vector<StreamOrder::Recorded> events;
  {
    const std::lock_guard lock(lock_);
    const std::uint16_t slot = order_.find(stream);
    if (slot != StreamOrder::kUnknown) {
      events = order_.remove(slot);
      // Another stream may have the slot next.
      for (auto& [id, uses] : extra_uses_) std::erase(uses, slot);
      for (auto& [capture, entry] : captures_) {
        if (entry.slot == slot) entry = {StreamOrder::kNobody, false, std::move(entry.held)};
      }
      settle(slot);
    }
  }
  for (ThreadCache* cache : closed) cache->open();
  drop(events);
}

std::vector<ThreadCache*> Pool::close_shelves(Stream stream) noexcept {
  std::vector<ThreadCache*> closed = close_caches([](const ThreadCache&) { return true; });
  for (ThreadCache* const cache : closed) {
    ThreadCache::Shelf* const shelf = cache->shelf(shelf_key(stream));
    if (shelf == nullptr) continue;
    for (std::uint32_t bin = 0; bin < ThreadCache::kCachedBins; ++bin) empty(*cache, *shelf, bin);
    cache->remove_shelf(shelf_key(stream));
  }
  return closed;
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
  std::uint16_t slot = StreamOrder::kUnknown;
  bool is_live = false;
  {
    const std::lock_guard lock(lock_);
    slot = slot_of(stream);
    Node* const node = find_live(block);
    is_live = node != nullptr;
    if (is_live && slot != StreamOrder::kNobody && slot != StreamOrder::kUnknown) {
      node->tag |= kTagUsed;
      std::vector<std::uint16_t>& uses = extra_uses_[id_of(block)];
      if (std::find(uses.begin(), uses.end(), slot) == uses.end()) uses.push_back(slot);
    }
  }
  if (is_live && slot != StreamOrder::kUnknown) return;
  log(MINIINFER_LOG_ERROR, "memory",
      format("the pool of %s was told that stream %p uses a block, but does not know the %s",
             device_.c_str(), stream.handle, is_live ? "stream" : "block"));
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
  for (const std::uint16_t user : uses.empty() ? std::vector<std::uint16_t>() : uses.mapped()) {
    // The stream's own order is kept as ever.
    if (user != slot) waiting.uses.emplace_back(user, order_.epoch(user));
  }
  if (waiting.uses.empty()) return give(id, slot, waiting.epoch);
  waiting_.push_back(std::move(waiting));
}

Result<CaptureId> Pool::begin_capture(Stream stream) noexcept {
  const std::lock_guard slow(slow_);
  const std::vector<ThreadCache*> closed = close_shelves(stream);
  CaptureId capture = 0;
  const char* why = "does not know the stream";
  {
    const std::lock_guard lock(lock_);
    const std::uint16_t slot = slot_of(stream);
    if (slot == StreamOrder::kNobody) {
      why = "has no order on it";
    } else if (slot != StreamOrder::kUnknown && order_.captures(slot)) {
      why = "has one on it already";
    } else if (slot != StreamOrder::kUnknown) {
      order_.set_captures(slot, true);
      capture = next_capture_++;
      captures_.emplace(capture, Capture{slot, true, {}});
    }
  }
  for (ThreadCache* const cache : closed) cache->open();
  if (capture != 0) return capture;
  return Status(Code::FailedPrecondition, format("a capture on stream %p of %s: the pool %s",
                                                 stream.handle, device_.c_str(), why));
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
