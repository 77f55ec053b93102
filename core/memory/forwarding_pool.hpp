#pragma once

#include <string>
#include <utility>

#include "miniinfer/memory_snapshot.hpp"

namespace miniinfer {

// A pool that leaves everything to another, for those that do one thing else. The other one lives
// as long as this.
class ForwardingPool : public PoolAllocator {
 public:
  explicit ForwardingPool(PoolAllocator& pool) : pool_(pool) {}

  Result<Block> allocate(const MemoryRequest& request) noexcept override {
    return pool_.allocate(request);
  }
  void deallocate(Block block, Stream stream) noexcept override { pool_.deallocate(block, stream); }
  MemoryStats stats() const noexcept override { return pool_.stats(); }
  MemoryInfo info() const noexcept override { return pool_.info(); }
  TrackingAllocator* tracker() noexcept override { return pool_.tracker(); }
  MemorySnapshot snapshot() const override { return pool_.snapshot(); }

  Status add_stream(Stream stream) noexcept override { return pool_.add_stream(stream); }
  void remove_stream(Stream stream) noexcept override { pool_.remove_stream(stream); }
  void synced(Stream stream) noexcept override { pool_.synced(stream); }
  void record_use(const Block& block, Stream stream) noexcept override {
    pool_.record_use(block, stream);
  }
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

 protected:
  PoolAllocator& pool_;
};

}  // namespace miniinfer
