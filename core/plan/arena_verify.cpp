#include <algorithm>
#include <map>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"
#include "miniinfer/memory_planner.hpp"

namespace miniinfer {
namespace {

using Number = unsigned long long;

Status check_place(const PlanBuffer& buffer, std::size_t index, const ArenaPlan& plan) {
  const std::uint64_t offset = plan.offsets[index];
  std::uint64_t end = 0;
  if (!checked_add(offset, buffer.bytes, &end) || end > plan.bytes) {
    return {Code::Internal,
            format("buffer %zu lies outside the arena: %llu bytes at %llu of %llu", index,
                   Number{buffer.bytes}, Number{offset}, Number{plan.bytes})};
  }
  if (buffer.alignment == 0 || offset % buffer.alignment != 0) {
    return {Code::Internal, format("buffer %zu at %llu is not aligned to %llu", index,
                                   Number{offset}, Number{buffer.alignment})};
  }
  return {};
}

}  // namespace

// Walks through time with the buffers that are alive, which must be disjoint: each newcomer is
// compared with those just below and above it.
Status verify_arena(std::span<const PlanBuffer> buffers, const ArenaPlan& plan) {
  if (plan.offsets.size() != buffers.size()) {
    return {Code::Internal,
            format("a plan of %zu offsets for %zu buffers", plan.offsets.size(), buffers.size())};
  }
  struct Event {
    std::uint64_t time;
    bool is_birth;  // deaths of a moment come first
    std::size_t buffer;
    auto operator<=>(const Event&) const = default;
  };
  std::vector<Event> events;
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    if (Status status = check_place(buffers[i], i, plan); !status.ok()) return status;
    if (buffers[i].bytes == 0 || buffers[i].begin >= buffers[i].end) continue;
    events.push_back({buffers[i].begin, true, i});
    events.push_back({buffers[i].end, false, i});
  }
  std::sort(events.begin(), events.end());
  std::map<std::uint64_t, std::size_t> alive;  // by offset
  for (const Event& event : events) {
    const std::uint64_t offset = plan.offsets[event.buffer];
    if (!event.is_birth) {
      alive.erase(offset);
      continue;
    }
    const auto above = alive.lower_bound(offset);
    std::size_t other = event.buffer;
    if (above != alive.end() && above->first < offset + buffers[event.buffer].bytes) {
      other = above->second;
    } else if (above != alive.begin()) {
      const auto below = std::prev(above);
      if (below->first + buffers[below->second].bytes > offset) other = below->second;
    }
    if (other != event.buffer) {
      return {Code::Internal, format("buffers %zu and %zu overlap while both are alive",
                                     std::min(other, event.buffer), std::max(other, event.buffer))};
    }
    alive.emplace(offset, event.buffer);
  }
  return {};
}

}  // namespace miniinfer
