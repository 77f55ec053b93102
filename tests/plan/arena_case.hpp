#pragma once

#include <algorithm>
#include <random>
#include <vector>

#include "miniinfer/memory_planner.hpp"

namespace miniinfer {

struct RandomBuffers {
  std::size_t count;
  std::uint64_t times;
  std::uint64_t sizes;           // 1 up to this
  std::uint32_t alignments = 1;  // that many powers of two
};

inline std::vector<PlanBuffer> random_buffers(std::mt19937& random, const RandomBuffers& how) {
  std::vector<PlanBuffer> buffers;
  for (std::size_t i = 0; i < how.count; ++i) {
    const std::uint64_t begin = random() % how.times;
    buffers.push_back({1 + random() % how.sizes, begin, begin + 1 + random() % (how.times - begin),
                       std::uint64_t{1} << random() % how.alignments});
  }
  return buffers;
}

// A rectangle of `bytes` by `times`, cut up at random: these buffers fit exactly into `bytes`, and
// every moment is full.
inline std::vector<PlanBuffer> perfect_buffers(std::mt19937& random, std::size_t count,
                                               std::uint64_t bytes, std::uint64_t times) {
  std::vector<PlanBuffer> buffers = {{bytes, 0, times}};
  while (buffers.size() < count) {
    PlanBuffer& whole = *std::max_element(
        buffers.begin(), buffers.end(), [](const PlanBuffer& a, const PlanBuffer& b) {
          return a.bytes * (a.end - a.begin) < b.bytes * (b.end - b.begin);
        });
    PlanBuffer part = whole;
    const std::uint64_t share = 20 + random() % 60;
    if (random() % 2 == 0) {
      whole.bytes = whole.bytes * share / 100;
      part.bytes -= whole.bytes;
    } else {
      whole.end = whole.begin + (whole.end - whole.begin) * share / 100;
      part.begin = whole.end;
    }
    buffers.push_back(part);
  }
  std::shuffle(buffers.begin(), buffers.end(), random);
  return buffers;
}

}  // namespace miniinfer
