#pragma once

#include <atomic>
#include <cstdint>

#include "miniinfer/allocator.hpp"

namespace miniinfer {

// The statistics of one allocator. Exact: the peak is the most that was ever counted at once, also
// when threads race. [any-thread]
class MemoryCounter {
 public:
  // After memory was got.
  void add(std::uint64_t bytes) noexcept {
    const std::uint64_t now = allocated_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    std::uint64_t peak = peak_.load(std::memory_order_relaxed);
    while (peak < now && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
    }
    allocations_.fetch_add(1, std::memory_order_release);
  }
  // Before it is given back, so that another thread that gets it then is not counted beside it.
  void subtract(std::uint64_t bytes) noexcept {
    allocated_.fetch_sub(bytes, std::memory_order_relaxed);
    frees_.fetch_add(1, std::memory_order_release);
  }
  void fail() noexcept { failures_.fetch_add(1, std::memory_order_relaxed); }

  MemoryStats read() const noexcept {
    MemoryStats stats;
    // In this order no reader sees more frees than allocations, or more bytes than their peak.
    stats.frees = frees_.load(std::memory_order_acquire);
    stats.allocations = allocations_.load(std::memory_order_acquire);
    stats.allocated_bytes = allocated_.load(std::memory_order_relaxed);
    const std::uint64_t peak = peak_.load(std::memory_order_relaxed);
    stats.peak_allocated_bytes = peak > stats.allocated_bytes ? peak : stats.allocated_bytes;
    stats.failures = failures_.load(std::memory_order_relaxed);
    return stats;
  }

 private:
  std::atomic<std::uint64_t> allocated_{0};
  std::atomic<std::uint64_t> peak_{0};
  std::atomic<std::uint64_t> allocations_{0};
  std::atomic<std::uint64_t> frees_{0};
  std::atomic<std::uint64_t> failures_{0};
};

}  // namespace miniinfer
