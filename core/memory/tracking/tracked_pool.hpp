#pragma once

#include "miniinfer/memory_snapshot.hpp"

namespace miniinfer::tracking {

// The pool behind a tracker, for those who have the tracker's blocks: record_use knows them, and
// what is asked of it is tracked.
class TrackedPool final : public PoolAllocator {
 public:
  // `as_upstream` gives a block of the tracker as the pool knows it.
  using Translate = Block (*)(const TrackingAllocator& tracker, const Block& block);

  TrackedPool(TrackingAllocator& tracker, PoolAllocator& pool, Translate as_upstream)
      : tracker_(tracker), pool_(pool), as_upstream_(as_upstream) {}

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

  MemoryInfo info() const noexcept override { return pool_.info(); }
  Status add_stream(Stream stream) noexcept override { return pool_.add_stream(stream); }
  void remove_stream(Stream stream) noexcept override { pool_.remove_stream(stream); }
  void synced(Stream stream) noexcept override { pool_.synced(stream); }
  Result<CaptureId> begin_capture(Stream stream) noexcept override {
    return pool_.begin_capture(stream);
  }
  void end_capture(CaptureId capture) noexcept override { pool_.end_capture(capture); }
  void release_capture(CaptureId capture) noexcept override { pool_.release_capture(capture); }
  std::uint64_t trim(std::uint64_t keep_bytes) noexcept override { return pool_.trim(keep_bytes); }
  void set_limit(std::uint64_t bytes) noexcept override { pool_.set_limit(bytes); }
  std::uint64_t add_release_hook(ReleaseHook hook) override {
    return pool_.add_release_hook(std::move(hook));
  }
  void remove_release_hook(std::uint64_t id) noexcept override { pool_.remove_release_hook(id); }
  PoolStats pool_stats() const noexcept override { return pool_.pool_stats(); }
  std::string check() const override { return pool_.check(); }

 private:
  TrackingAllocator& tracker_;
  PoolAllocator& pool_;
  const Translate as_upstream_;
};

}  // namespace miniinfer::tracking
