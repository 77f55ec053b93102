#pragma once

#include <algorithm>
#include <cstdint>

#include "core/cpu/kernel.hpp"

namespace miniinfer::cpu {

// A piece of a loop that is worth waking a thread for.
inline constexpr double kPieceNs = 20000;

inline std::uint32_t worker_count() noexcept {
  return std::max<std::uint32_t>(1, host().thread_count(&host()));
}

// Calls f(begin, end, worker) over [0, count) in pieces of about kPieceNs, where an item costs
// `item_ns`; work of two pieces or less stays on the caller. `worker` is below `workers`.
template <class F>
void parallel(std::int64_t count, double item_ns, std::uint32_t workers, const F& f) noexcept {
  if (count <= 0) return;
  const double total = static_cast<double>(count) * item_ns;
  if (workers <= 1 || count == 1 || total < 2 * kPieceNs) {
    f(std::int64_t{0}, count, std::uint32_t{0});
    return;
  }
  const auto grain = static_cast<std::uint64_t>(std::max(1.0, kPieceNs / item_ns));
  host().parallel_for(
      &host(), static_cast<std::uint64_t>(count), grain, workers,
      [](void* context, std::uint64_t begin, std::uint64_t end,
         std::uint32_t worker) -> miniinfer_code {
        (*static_cast<const F*>(context))(static_cast<std::int64_t>(begin),
                                          static_cast<std::int64_t>(end), worker);
        return MINIINFER_OK;
      },
      const_cast<F*>(&f));
}

inline std::uint64_t align64(std::uint64_t bytes) noexcept { return (bytes + 63) & ~63ull; }

}  // namespace miniinfer::cpu
