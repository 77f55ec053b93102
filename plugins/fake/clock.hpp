#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace miniinfer::fake {

// How much of each queue's work, by the queue's slot, is known to be done before something. Slots
// are given out to queues of all devices.
using Clock = std::vector<std::uint64_t>;

inline void merge(Clock& into, const Clock& from) {
  if (into.size() < from.size()) into.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
}

inline bool covers(const Clock& clock, std::uint32_t slot, std::uint64_t position) {
  return slot < clock.size() && clock[slot] >= position;
}

}  // namespace miniinfer::fake
