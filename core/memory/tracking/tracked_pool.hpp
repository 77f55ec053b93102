#pragma once

#include "core/memory/forwarding_pool.hpp"

namespace miniinfer::tracking {

// The pool behind a tracker, for those who have the tracker's blocks: record_use knows them, and
// what is asked of it is tracked.
class TrackedPool final : public ForwardingPool {
 public:
  // `as_upstream` gives a block of the tracker as the pool knows it.
  using Translate = Block (*)(const TrackingAllocator& tracker, const Block& block);

  TrackedPool(TrackingAllocator& tracker, PoolAllocator& pool, Translate as_upstream)
      : ForwardingPool(pool), tracker_(tracker), as_upstream_(as_upstream) {}

  Result<Block> allocate(const MemoryRequest& request) noexcept override {
    return tracker_.allocate(request);
  }
  void deallocate(Block block, Stream stream) noexcept override {
    tracker_.deallocate(block, stream);
  }
  void record_use(const Block& block, Stream stream) noexcept override {
    pool_.record_use(as_upstream_(tracker_, block), stream);
  }
  MemoryStats stats() const noexcept override { return tracker_.stats(); }
  TrackingAllocator* tracker() noexcept override { return &tracker_; }
  MemorySnapshot snapshot() const override { return tracker_.snapshot(); }

 private:
  TrackingAllocator& tracker_;
  const Translate as_upstream_;
};

}  // namespace miniinfer::tracking
