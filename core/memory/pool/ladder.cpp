// What a request does that no free block serves, from the cheapest step to the dearest. After each
// step that changed something the free blocks are looked at again.

#include <algorithm>

#include "core/base/format.hpp"
#include "core/memory/failure_snapshot.hpp"
#include "core/memory/pool/pool.hpp"
#include "core/memory/request.hpp"

namespace miniinfer::pool {

Result<NodeId> Pool::climb(const Wanted& wanted) noexcept {
  retries_.fetch_add(1, std::memory_order_relaxed);
  NodeId id = kNil;
  const auto look = [&] {
    const std::lock_guard lock(lock_);
    id = take(wanted, BlockMap::kAll);
    return id != kNil;
  };
  Tried tried;
  std::unique_lock slow(slow_);
  if (look()) return id;  // another thread was here meanwhile
  if (tried.time("poll", [&] { return poll(); }) && look()) return id;
  if (tried.time("empty caches", [&] { return empty_caches(); }) && look()) return id;
  // Memory that is moved must not be in use. Waiting for the stream's own work costs what asking
  // the driver for memory often costs, and comes up only where more than enough is reserved.
  if (wants_moves(wanted) && finish_own(wanted.slot) && look()) return id;
  Result<NodeId> grown = tried.time("grow", [&] { return grow(wanted, /*sparing=*/true); });
  const Code code = grown.status().code();
  if (code != Code::OutOfMemory && code != Code::LimitExceeded) return grown;
  id = tried.time("take from other streams", [&] { return steal(wanted); });
  if (id != kNil) return id;
  slow.unlock();
  const bool called = tried.time("release hooks", [&] { return call_hooks(wanted.bytes); });
  slow.lock();
  if (called) {
    poll();
    empty_caches();
    if (look()) return id;
  }
  if (tried.time("wait for all streams", [&] { return sync_all(); }) && look()) return id;
  grown = tried.time("move and give back", [&] { return grow(wanted, /*sparing=*/false); });
  if (grown) return grown;
  // Among blocks of another lifetime rather than nowhere.
  Wanted elsewhere = wanted;
  for (Section& section : sections_) {
    const std::lock_guard lock(lock_);
    elsewhere.section = &section;
    id = take(elsewhere, BlockMap::kAll);
    if (id != kNil) return id;
  }
  Status failed = describe_failure(wanted, grown.status(), tried);
  slow.unlock();
  return with_failure_snapshot(std::move(failed), *this);
}

std::uint64_t Pool::add_release_hook(ReleaseHook hook) {
  auto made = std::make_shared<Hook>();
  made->call = std::move(hook);
  const std::lock_guard lock(hooks_lock_);
  hooks_.emplace(next_hook_, std::move(made));
  return next_hook_++;
}

void Pool::remove_release_hook(std::uint64_t id) noexcept {
  std::shared_ptr<Hook> hook;
  {
    const std::lock_guard lock(hooks_lock_);
    const auto found = hooks_.find(id);
    if (found == hooks_.end()) return;
    hook = std::move(found->second);
    hooks_.erase(found);
  }
  const std::lock_guard runs(hook->runs);
  hook->call = nullptr;
}

bool Pool::call_hooks(std::uint64_t bytes) noexcept {
  // What a hook allocates calls none.
  thread_local bool inside = false;
  if (inside) return false;
  std::vector<std::shared_ptr<Hook>> hooks;
  {
    const std::lock_guard lock(hooks_lock_);
    for (const auto& [id, hook] : hooks_) hooks.push_back(hook);
  }
  inside = true;
  for (const std::shared_ptr<Hook>& hook : hooks) {
    const std::lock_guard runs(hook->runs);
    if (hook->call) hook->call(bytes);
  }
  inside = false;
  return !hooks.empty();
}

bool Pool::settle(std::uint16_t slot) noexcept {
  bool any = false;
  const std::uint64_t done = order_.done(slot);
  for (Section& section : sections_) any |= section.map.settle(slot, done);
  const auto ready = [&](const Waiting& waiting) {
    return std::all_of(waiting.uses.begin(), waiting.uses.end(),
                       [&](const auto& use) { return order_.done(use.first) >= use.second; });
  };
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    if (!ready(waiting)) return false;
    give(waiting.node, waiting.owner, waiting.epoch);
    return any = true;
  });
  return any;
}

bool Pool::poll() noexcept {
  bool any = false;
  record_waited();
  std::size_t slots = 0;
  {
    const std::lock_guard lock(lock_);
    slots = order_.end();
  }
  for (std::uint16_t slot = 1; slot < slots; ++slot) {
    for (;;) {
      StreamOrder::Recorded oldest;
      {
        const std::lock_guard lock(lock_);
        const StreamOrder::Recorded* const at = order_.oldest(slot);
        if (at == nullptr || order_.captures(slot)) break;
        oldest = *at;
      }
      driver_calls_.fetch_add(1, std::memory_order_relaxed);
      const Result<bool> done = upstream_->done(oldest.event);
      if (!done || !*done) break;
      std::vector<StreamOrder::Recorded> events;
      {
        const std::lock_guard lock(lock_);
        events = order_.finished(slot, oldest.epoch);
        any |= settle(slot);
      }
      drop(std::move(events));
    }
  }
  return any;
}

bool Pool::empty_caches() noexcept {
  const std::vector<ThreadCache*> closed =
      close_caches([](const ThreadCache& cache) { return cache.held_bytes() != 0; });
  if (closed.empty()) return false;
  for (ThreadCache* cache : closed) {
    empty(*cache);
    cache->open();
  }
  return true;
}

void Pool::drop(std::vector<StreamOrder::Recorded> events) noexcept {
  for (const StreamOrder::Recorded& recorded : events) spare_events_.push_back(recorded.event);
}

// Blocks that wait for work of several streams come back one day without the host having to wait.
void Pool::record_waited() noexcept {
  std::vector<std::uint16_t> slots;
  {
    const std::lock_guard lock(lock_);
    for (const Waiting& waiting : waiting_) {
      for (const auto& [slot, epoch] : waiting.uses) {
        if (order_.epoch(slot) == epoch && !order_.captures(slot)) slots.push_back(slot);
      }
    }
  }
  std::sort(slots.begin(), slots.end());
  slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
  for (const std::uint16_t slot : slots) static_cast<void>(record(slot));
}

Result<StreamOrder::Recorded> Pool::record(std::uint16_t slot) noexcept {
  Stream stream;
  {
    const std::lock_guard lock(lock_);
    stream = order_.stream(slot);
  }
  StreamOrder::Recorded recorded{0, {}};
  driver_calls_.fetch_add(1, std::memory_order_relaxed);
  if (spare_events_.empty()) {
    driver_calls_.fetch_add(1, std::memory_order_relaxed);
    Result<MemoryUpstream::Event> made = upstream_->create_event();
    if (!made) return made.status();
    recorded.event = *made;
  } else {
    recorded.event = spare_events_.back();
    spare_events_.pop_back();
  }
  // The epoch ends before the event is put there: what another thread gives back in between belongs
  // to the next one, and is covered all the same.
  {
    const std::lock_guard lock(lock_);
    recorded.epoch = order_.recorded(slot, recorded.event);
  }
  Status status = upstream_->record(recorded.event, stream);
  if (status.ok()) return recorded;
  // An event that marks nothing would look done. Another thread that has waited for the stream may
  // have it already.
  const std::lock_guard lock(lock_);
  if (order_.forget(slot, recorded.epoch)) spare_events_.push_back(recorded.event);
  return status;
}

// Each turn makes the stream wait for one other, once.
NodeId Pool::steal(const Wanted& wanted) noexcept {
  if (wanted.slot == StreamOrder::kNobody) return kNil;
  BlockMap& map = wanted.section->map;
  for (;;) {
    std::uint16_t owner = 0;
    StreamOrder::Recorded covering{0, {}};
    {
      const std::lock_guard lock(lock_);
      if (order_.captures(wanted.slot) || !nodes_.reserve(2, kNodesToMove)) return kNil;
      NodeId id = map.find_foreign(
          wanted.bytes, wanted.alignment, wanted.slot,
          [&](const Node& node) { return node.use <= order_.seen(wanted.slot, node.owner); });
      if (id != kNil) {
        id = map.take_from(id, wanted.bytes, wanted.alignment);
        prepare(id, wanted);
        return id;
      }
      id = map.find_foreign(wanted.bytes, wanted.alignment, wanted.slot,
                            [&](const Node& node) { return !order_.captures(node.owner); });
      if (id == kNil) return kNil;
      owner = nodes_[id].owner;
      const StreamOrder::Recorded* const newest = order_.newest(owner);
      if (newest != nullptr && newest->epoch >= nodes_[id].use) covering = *newest;
    }
    if (covering.epoch == 0) {
      const Result<StreamOrder::Recorded> recorded = record(owner);
      if (!recorded) return kNil;
      covering = *recorded;
    }
    driver_calls_.fetch_add(1, std::memory_order_relaxed);
    if (!upstream_->wait(covering.event, wanted.request->stream).ok()) return kNil;
    const std::lock_guard lock(lock_);
    order_.waits(wanted.slot, owner, covering.epoch);
  }
}

bool Pool::wants_moves(const Wanted& wanted) const noexcept {
  const std::lock_guard lock(lock_);
  return wanted.section->range != nullptr && !order_.captures(wanted.slot) &&
         reserved_ + wanted.bytes > spare_target(wanted.bytes);
}

bool Pool::finish_own(std::uint16_t slot) noexcept {
  {
    const std::lock_guard lock(lock_);
    bool has_blocks = false;
    for (const Section& section : sections_) has_blocks |= section.map.owned_bytes(slot) != 0;
    if (slot == StreamOrder::kNobody || !has_blocks) return false;
  }
  return sync(slot);
}

bool Pool::sync(std::uint16_t slot) noexcept {
  const Result<StreamOrder::Recorded> recorded = record(slot);
  if (!recorded) return false;
  driver_calls_.fetch_add(1, std::memory_order_relaxed);
  syncs_.fetch_add(1, std::memory_order_relaxed);
  if (!upstream_->sync(recorded->event).ok()) return false;
  std::vector<StreamOrder::Recorded> events;
  bool any = false;
  {
    const std::lock_guard lock(lock_);
    events = order_.finished(slot, recorded->epoch);
    any = settle(slot);
  }
  drop(std::move(events));
  return any;
}

bool Pool::sync_all() noexcept {
  bool any = false;
  std::size_t slots = 0;
  {
    const std::lock_guard lock(lock_);
    slots = order_.end();
  }
  for (std::uint16_t slot = 1; slot < slots; ++slot) {
    bool has_blocks = false;
    {
      const std::lock_guard lock(lock_);
      if (!order_.is_used(slot) || order_.captures(slot)) continue;
      for (const Section& section : sections_) has_blocks |= section.map.owned_bytes(slot) != 0;
      for (const Waiting& waiting : waiting_) {
        has_blocks |= waiting.owner == slot;
        for (const auto& use : waiting.uses) has_blocks |= use.first == slot;
      }
    }
    if (has_blocks) any |= sync(slot);
  }
  return any;
}

}  // namespace miniinfer::pool
