#pragma once

#include <atomic>
#include <memory>

#include "core/memory/memory_counter.hpp"
#include "miniinfer/memory_snapshot.hpp"

namespace miniinfer {

// Wraps any allocator and fails requests on command, so that a test can reach each place that must
// survive running out of memory. Without a command it passes everything on. [any-thread]
class FaultAllocator final : public Allocator {
 public:
  enum class Mode { Once, FromThenOn };

  explicit FaultAllocator(AllocatorPtr upstream) : upstream_(std::move(upstream)) {}

  // The `nth` request after this call (the first is 1) fails with OUT_OF_MEMORY; 0: none does.
  void fail_at(std::uint64_t nth, Mode mode = Mode::Once) noexcept;
  // Requests since the last fail_at.
  std::uint64_t requests() const noexcept { return requests_.load(std::memory_order_relaxed); }

  Result<Block> allocate(const MemoryRequest& request) noexcept override;
  void deallocate(Block block, Stream stream) noexcept override;
  MemoryStats stats() const noexcept override { return counter_.read(); }
  MemoryInfo info() const noexcept override { return upstream_->info(); }
  PoolAllocator* pool() noexcept override { return upstream_->pool(); }
  TrackingAllocator* tracker() noexcept override { return upstream_->tracker(); }
  MemorySnapshot snapshot() const override {
    MemorySnapshot snapshot = upstream_->snapshot();
    snapshot.stats = stats();
    return snapshot;
  }

 private:
  const AllocatorPtr upstream_;
  std::atomic<std::uint64_t> requests_{0};
  std::atomic<std::uint64_t> fail_at_{0};
  std::atomic<Mode> mode_{Mode::Once};
  MemoryCounter counter_;
};

}  // namespace miniinfer
