#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/memory/snapshot_places.hpp"
#include "core/memory/tracking/live_table.hpp"
#include "core/memory/tracking/thread_book.hpp"
#include "core/memory/tracking/tracked_pool.hpp"
#include "miniinfer/memory_snapshot.hpp"

namespace miniinfer::tracking {

// A block's token becomes its node's word above the node's number, which is marked as this
// tracker's in bits that no number has; the upstream's token waits in the node. A block given out
// and taken back costs one locked instruction, by which of two who give it back at once one is
// refused.
class Tracker final : public TrackingAllocator {
 public:
  Tracker(AllocatorPtr upstream, const TrackingOptions& options);
  ~Tracker() override;

  Result<Block> allocate(const MemoryRequest& request) noexcept override;
  void deallocate(Block block, Stream stream) noexcept override;
  MemoryStats stats() const noexcept override;
  MemoryInfo info() const noexcept override { return upstream_->info(); }
  PoolAllocator* pool() noexcept override { return pool_.get(); }
  MemorySnapshot snapshot() const override;
  std::vector<LiveBlock> live_blocks() const override;
  std::vector<LiveGroup> live_groups() const override;
  std::vector<TagStats> tags() const override;
  std::vector<MemoryEvent> events() const override { return snapshot().events; }
  std::uint64_t refused_frees() const noexcept override {
    return refused_frees_.load(std::memory_order_relaxed);
  }

 private:
  // What a node said of a block that was in use while it was read.
  struct Seen {
    std::uint64_t handle, offset, bytes, stream, sequence;
    std::uint32_t thread;
    std::uint16_t tag;
  };
  template <class Write>
  [[gnu::always_inline]] void write(Write&& write) noexcept;  // into this thread's book
  [[gnu::cold]] ThreadBook* open_book() noexcept;
  [[gnu::cold]] static void close_book(ThreadBook& book) noexcept;
  std::shared_ptr<ThreadBook> take_book() noexcept;

  [[gnu::always_inline]] std::uint16_t tag_of(ThreadBook& book, std::string_view tag) noexcept;
  [[gnu::cold]] std::uint16_t intern(ThreadBook& book, std::string_view tag) noexcept;
  [[gnu::always_inline]] NodeId take_node(ThreadBook& book) noexcept;
  [[gnu::always_inline]] void give_node(ThreadBook& book, NodeId id) noexcept;
  [[gnu::cold]] void give_chain(ThreadBook& book) noexcept;
  [[gnu::always_inline]] void change(ThreadBook& book, std::int64_t bytes) noexcept;
  [[gnu::noinline]] void add_delta(ThreadBook& book, std::int64_t delta) noexcept;
  [[gnu::noinline]] void keep_event(ThreadBook& book, MemoryEvent::Kind kind, const Block& block,
                                    Stream stream, std::uint16_t tag) noexcept;
  [[gnu::always_inline]] void add(ThreadBook& book, const MemoryRequest& request,
                                  Result<Block>& block) noexcept;
  [[gnu::cold]] void give_up(ThreadBook& book, const MemoryRequest& request,
                             Result<Block>& block) noexcept;
  [[gnu::cold]] void count_failure(ThreadBook& book, const MemoryRequest& request) noexcept;
  NodeId id_of(const Block& block) const noexcept {
    return static_cast<NodeId>(block.token) ^ mark_;
  }
  std::unique_ptr<TrackedPool> wrap_pool(Allocator& upstream);
  // Null for a block that is not in use.
  [[gnu::always_inline]] Node* find_live(const Block& block) const noexcept;
  Block as_upstream(const Block& block) const noexcept;
  [[gnu::cold]] void refuse_free(const Block& block) noexcept;
  std::string name() const;

  // tracker_report.cpp
  std::vector<std::shared_ptr<ThreadBook>> books() const;
  std::vector<std::string> tag_names() const;
  std::vector<Seen> seen() const;  // in use, by sequence
  std::vector<MemoryEvent> read_events(Places& places) const;
  void report_leaks() const;

  const AllocatorPtr upstream_;
  const std::unique_ptr<TrackedPool> pool_;  // null where there is none
  const TrackingOptions options_;
  const std::uint64_t serial_;  // never used again
  const NodeId mark_;

  LiveTable nodes_;
  std::atomic<std::int64_t> total_{0}, peak_{0};
  std::atomic<std::uint64_t> next_sequence_{0};
  std::atomic<std::uint64_t> failures_{0}, refused_frees_{0};

  mutable std::mutex mutex_;  // what follows
  std::vector<std::shared_ptr<ThreadBook>> books_;
  std::deque<std::string> tags_{""};  // whose addresses stay
};

}  // namespace miniinfer::tracking
