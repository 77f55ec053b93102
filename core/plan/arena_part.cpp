#include "core/plan/arena_part.hpp"

#include <algorithm>
#include <numeric>

namespace miniinfer {
namespace {

// Sections of buffers sorted by begin. One ends with the first death after a birth.
void find_sections(std::span<const PlanBuffer> buffers, ArenaPart& part) {
  std::vector<std::uint32_t> by_end(part.buffers.size());
  std::iota(by_end.begin(), by_end.end(), 0);
  std::sort(by_end.begin(), by_end.end(), [&](std::uint32_t a, std::uint32_t b) {
    return buffers[part.buffers[a].index].end < buffers[part.buffers[b].index].end;
  });
  std::uint32_t section = 0;
  std::uint64_t alive = 0;
  std::size_t dead = 0;
  bool has_deaths = false;
  for (ArenaPart::Buffer& born : part.buffers) {
    for (; buffers[part.buffers[by_end[dead]].index].end <= buffers[born.index].begin; ++dead) {
      part.buffers[by_end[dead]].end = section + 1;
      alive -= part.buffers[by_end[dead]].bytes;
      has_deaths = true;
    }
    if (has_deaths) ++section;
    has_deaths = false;
    born.begin = section;
    alive += born.bytes;
    part.lower_bound = std::max(part.lower_bound, alive);
  }
  for (; dead < by_end.size(); ++dead) part.buffers[by_end[dead]].end = section + 1;
  part.sections = section + 1;
}

void find_loads(ArenaPart& part) {
  std::vector<std::uint64_t> loads(part.sections);
  for (const ArenaPart::Buffer& buffer : part.buffers) {
    for (std::uint32_t s = buffer.begin; s < buffer.end; ++s) loads[s] += buffer.bytes;
  }
  for (ArenaPart::Buffer& buffer : part.buffers) {
    buffer.load = *std::max_element(loads.begin() + buffer.begin, loads.begin() + buffer.end);
  }
}

// In a tight plan a buffer lies at 0 or, but for alignment, on top of another.
std::uint64_t find_step(const ArenaPart& part) {
  std::uint64_t sizes = 0;
  for (const ArenaPart::Buffer& buffer : part.buffers) sizes = std::gcd(sizes, buffer.bytes);
  std::uint64_t step = sizes;
  for (const ArenaPart::Buffer& buffer : part.buffers) {
    if (sizes % buffer.alignment != 0) step = std::gcd(step, buffer.alignment);
  }
  return step;
}

}  // namespace

std::vector<ArenaPart> split_in_time(std::span<const PlanBuffer> buffers) {
  std::vector<std::uint32_t> order;
  for (std::uint32_t i = 0; i < buffers.size(); ++i) {
    if (buffers[i].bytes > 0 && buffers[i].begin < buffers[i].end) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return buffers[a].begin < buffers[b].begin;
  });
  std::vector<ArenaPart> parts;
  std::uint64_t end = 0;
  for (const std::uint32_t i : order) {
    const PlanBuffer& buffer = buffers[i];
    if (parts.empty() || buffer.begin >= end) parts.emplace_back();
    end = std::max(end, buffer.end);
    parts.back().buffers.push_back(
        {buffer.bytes, buffer.alignment, buffer.end - buffer.begin, 0, 0, i, 0});
  }
  for (ArenaPart& part : parts) {
    find_sections(buffers, part);
    find_loads(part);
    part.step = find_step(part);
  }
  return parts;
}

}  // namespace miniinfer
