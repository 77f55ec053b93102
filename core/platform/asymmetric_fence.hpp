#pragma once

#include <atomic>

namespace miniinfer {

// The two halves of a fence between a thread that does something all the time and one that does
// something rarely. Where thread A stores x, calls light_fence() and loads y, and thread B stores
// y, calls heavy_fence() and loads x, at least one of them sees the other's store. The light half
// costs nothing: the heavy one makes the system interrupt all threads of the process
// (membarrier(2), Linux 4.14). Where that is not to be had, both are full fences.
extern const bool kHasHeavyFence;
void heavy_fence() noexcept;

inline void light_fence() noexcept {
  if (kHasHeavyFence) [[likely]] {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  } else {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
}

}  // namespace miniinfer
