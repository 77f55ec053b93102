#include "core/memory/pool/stream_order.hpp"

#include <algorithm>

namespace miniinfer::pool {

std::uint16_t StreamOrder::search(Stream stream) const noexcept {
  const auto found = std::find(handles_.begin() + 1, handles_.end(), stream.handle);
  if (found == handles_.end()) return kUnknown;
  return hints_[hint_of(stream)] = static_cast<std::uint16_t>(found - handles_.begin());
}

std::uint16_t StreamOrder::add(Stream stream) {
  const std::uint16_t known = find(stream);
  if (known != kUnknown) return known;
  auto vacant = std::find(handles_.begin() + 1, handles_.end(), nullptr);
  if (vacant == handles_.end()) {
    if (handles_.size() == kMost) return kUnknown;
    slots_.emplace_back();
    vacant = handles_.insert(vacant, nullptr);
  }
  *vacant = stream.handle;
  const auto slot = static_cast<std::uint16_t>(vacant - handles_.begin());
  // The epochs go on: what others have seen of the former stream stays true of this one.
  slots_[slot].seen.clear();
  return slot;
}

std::vector<StreamOrder::Recorded> StreamOrder::remove(std::uint16_t slot) {
  std::vector<Recorded> events = synced(slot);
  handles_[slot] = nullptr;
  slots_[slot].captures = false;
  return events;
}

bool StreamOrder::forget(std::uint16_t slot, std::uint64_t epoch) {
  std::deque<Recorded>& recorded = slots_[slot].recorded;
  if (recorded.empty() || recorded.back().epoch != epoch) return false;
  recorded.pop_back();
  return true;
}

std::uint64_t StreamOrder::recorded(std::uint16_t slot, MemoryUpstream::Event event) {
  Slot& at = slots_[slot];
  at.recorded.push_back({at.epoch, event});
  return at.epoch++;
}

std::vector<StreamOrder::Recorded> StreamOrder::finished(std::uint16_t slot, std::uint64_t epoch) {
  Slot& at = slots_[slot];
  at.done = std::max(at.done, epoch);
  std::vector<Recorded> events;
  while (!at.recorded.empty() && at.recorded.front().epoch <= epoch) {
    events.push_back(at.recorded.front());
    at.recorded.pop_front();
  }
  return events;
}

void StreamOrder::waits(std::uint16_t user, std::uint16_t owner, std::uint64_t epoch) {
  std::vector<std::uint64_t>& seen = slots_[user].seen;
  seen.resize(std::max<std::size_t>(seen.size(), owner + 1u));
  seen[owner] = std::max(seen[owner], epoch);
}

std::uint64_t StreamOrder::seen(std::uint16_t user, std::uint16_t owner) const noexcept {
  const std::vector<std::uint64_t>& seen = slots_[user].seen;
  return std::max(slots_[owner].done, owner < seen.size() ? seen[owner] : 0);
}

}  // namespace miniinfer::pool
