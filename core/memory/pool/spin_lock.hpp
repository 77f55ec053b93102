#pragma once

#include <atomic>
#include <thread>

namespace miniinfer::pool {

// For sections of some tens of nanoseconds: taken with one exchange, given back with a store.
// Who waits long lets others run.
class SpinLock {
 public:
  void lock() noexcept {
    for (int turn = 0; held_.exchange(true, std::memory_order_acquire); ++turn) {
      while (held_.load(std::memory_order_relaxed)) {
        if (++turn % 64 == 0) std::this_thread::yield();
      }
    }
  }
  void unlock() noexcept { held_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> held_{false};
};

}  // namespace miniinfer::pool
