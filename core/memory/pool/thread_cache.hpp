#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "core/memory/owned_counter.hpp"
#include "core/memory/pool/node_table.hpp"
#include "core/memory/pool/size_bins.hpp"
#include "core/platform/asymmetric_fence.hpp"

namespace miniinfer::pool {

struct Counters {
  OwnedCounter allocations, frees;
  OwnedCounter allocated_bytes, freed_bytes;     // as cut
  OwnedCounter requested_bytes, returned_bytes;  // as asked for

  [[gnu::always_inline]] void count_allocation(std::uint64_t bytes, std::uint64_t asked) noexcept {
    allocations.add(1);
    allocated_bytes.add(bytes);
    requested_bytes.add(asked);
  }
  [[gnu::always_inline]] void count_free(std::uint64_t bytes, std::uint64_t asked) noexcept {
    frees.add(1);
    freed_bytes.add(bytes);
    returned_bytes.add(asked);
  }
  void add_allocations(const Counters& other) noexcept {
    allocations.add(other.allocations.read());
    allocated_bytes.add(other.allocated_bytes.read());
    requested_bytes.add(other.requested_bytes.read());
  }
  void add_frees(const Counters& other) noexcept {
    frees.add(other.frees.read());
    freed_bytes.add(other.freed_bytes.read());
    returned_bytes.add(other.returned_bytes.read());
  }
};

// What one thread gave back to a pool and has not needed again, by stream and size (the magazines
// of Bonwick and Adams, 2001). The thread itself takes no lock for it; whoever wants the blocks
// back, for want of memory or at the end of the pool, stops the thread at the door.
class ThreadCache {
 public:
  static constexpr std::uint32_t kCachedBins = 19 * kBinsPerOctave;

  // The blocks that one stream's work used last, in a list for each size.
  struct Shelf {
    void* stream = nullptr;
    std::uint16_t slot = 0;
    std::array<Token, kCachedBins> heads;

    Shelf() { heads.fill(kNoToken); }
  };

  // The owner's door. False while somebody else is inside.
  bool enter() noexcept {
    busy_.store(true, std::memory_order_relaxed);
    light_fence();
    if (!closed_.load(std::memory_order_acquire)) [[likely]]
      return true;
    busy_.store(false, std::memory_order_relaxed);
    return false;
  }
  void leave() noexcept { busy_.store(false, std::memory_order_release); }

  // Everybody else's: close() each of those wanted, one heavy_fence(), then wait for each. One
  // thread at a time.
  void close() noexcept { closed_.store(true, std::memory_order_relaxed); }
  void wait_until_left() const noexcept {
    while (busy_.load(std::memory_order_acquire)) std::this_thread::yield();
  }
  void open() noexcept { closed_.store(false, std::memory_order_release); }

  // Inside only. The shelf that was asked for last, if it is the stream's; null otherwise.
  Shelf* recent(void* stream) noexcept {
    return recent_ != nullptr && recent_->stream == stream ? recent_ : nullptr;
  }
  // Null where the stream has no shelf.
  Shelf* shelf(void* stream) noexcept {
    for (const std::unique_ptr<Shelf>& shelf : shelves_) {
      if (shelf->stream == stream) return recent_ = shelf.get();
    }
    return nullptr;
  }
  std::vector<std::unique_ptr<Shelf>>& shelves() noexcept { return shelves_; }
  void add_shelf(void* stream, std::uint16_t slot) {
    shelves_.push_back(std::make_unique<Shelf>());
    shelves_.back()->stream = stream;
    shelves_.back()->slot = slot;
  }
  void remove_shelf(void* stream) noexcept {
    recent_ = nullptr;
    std::erase_if(shelves_, [&](const auto& shelf) { return shelf->stream == stream; });
  }

  // The pool has ended; its numbers mean nothing any more. With the lock over all ends.
  void forget_pool() noexcept { has_pool_ = false; }
  bool has_pool() const noexcept { return has_pool_; }

  // On the shelves.
  std::uint64_t held_bytes() const noexcept {
    // What left them first: no reader sees more of it.
    const std::uint64_t left = counters.allocated_bytes.read() + emptied_bytes.read();
    return counters.freed_bytes.read() - left;
  }

  Counters counters;           // what went over the shelves
  OwnedCounter emptied_bytes;  // what was put among the pool's free blocks

 private:
  // Apart: a load beside a store that is still on its way waits for it.
  alignas(8) std::atomic<bool> busy_{false};
  alignas(8) std::atomic<bool> closed_{false};
  bool has_pool_ = true;
  Shelf* recent_ = nullptr;
  std::vector<std::unique_ptr<Shelf>> shelves_;
};

}  // namespace miniinfer::pool
