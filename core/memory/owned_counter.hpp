#pragma once

#include <atomic>
#include <cstdint>

namespace miniinfer {

// A number that one thread changes and others read: no more than a load and a store.
class OwnedCounter {
 public:
  [[gnu::always_inline]] void add(std::uint64_t by) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + by, std::memory_order_release);
  }
  std::uint64_t read() const noexcept { return value_.load(std::memory_order_acquire); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace miniinfer
