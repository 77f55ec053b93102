#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/memory/budget.hpp"
#include "core/memory/pool/block_map.hpp"
#include "core/memory/pool/spin_lock.hpp"
#include "core/memory/pool/stream_order.hpp"
#include "core/memory/pool/thread_cache.hpp"
#include "core/memory/upstream.hpp"
#include "core/platform/address_sanitizer.hpp"
#include "miniinfer/memory_snapshot.hpp"
#include "miniinfer/pool_allocator.hpp"

namespace miniinfer::pool {

// The pool: blocks, streams and threads put together. Three ways lead to a block, each tried where
// the one before gave nothing:
//
//   the thread's own cache   no lock
//   the free blocks          a lock for some tens of nanoseconds; no driver call, log or callback
//   the ladder (ladder.cpp)  one thread at a time, which calls the driver without that lock
//
// Where the host has no memory left for a few bytes of bookkeeping (a list of events, a text), the
// process ends, as it does wherever else that happens in a function that cannot throw; that nodes
// have run out is an error.
class Pool final : public PoolAllocator {
 public:
  Pool(std::shared_ptr<MemoryUpstream> upstream, std::string device, const PoolOptions& options,
       std::shared_ptr<Budget> budget);
  ~Pool() override;

  Result<Block> allocate(const MemoryRequest& request) noexcept override;
  void deallocate(Block block, Stream stream) noexcept override;
  MemoryStats stats() const noexcept override;
  MemoryInfo info() const noexcept override { return upstream_->info(); }

  Status add_stream(Stream stream) noexcept override;
  void remove_stream(Stream stream) noexcept override;
  void synced(Stream stream) noexcept override;
  void record_use(const Block& block, Stream stream) noexcept override;
  Result<CaptureId> begin_capture(Stream stream) noexcept override;
  void end_capture(CaptureId capture) noexcept override;
  void release_capture(CaptureId capture) noexcept override;
  std::uint64_t trim(std::uint64_t keep_bytes) noexcept override;
  void set_limit(std::uint64_t bytes) noexcept override;
  std::uint64_t add_release_hook(ReleaseHook hook) override;
  void remove_release_hook(std::uint64_t id) noexcept override;
  PoolStats pool_stats() const noexcept override;
  std::string check() const override;
  MemorySnapshot snapshot() const override;

  // A thread ends: its blocks go to all.
  void retire(ThreadCache* cache) noexcept;

 private:
  static constexpr std::size_t kLifetimes = 4;
  // A node's tag. Of a transient block its bin, where threads keep such blocks: they look at no
  // names. Otherwise which of tags_ it was asked for with, and that it is for no thread's cache.
  static constexpr std::uint16_t kTagUsed = 0x8000;  // by several streams
  static constexpr std::uint16_t kTagSpecial = 0x4000;
  static constexpr std::uint16_t kTagName = 0x3fff;
  // Of nodes, what moving memory may need between two looks at the table: a block that is taken
  // leaves so many.
  static constexpr std::size_t kMostMoves = 1024;
  static constexpr std::uint32_t kNodesToMove = 8 * kMostMoves;

  struct Piece {
    std::uint64_t bytes = 0;
    MemoryUpstream::Physical physical;
  };
  // All blocks of one lifetime.
  struct Section {
    Section(NodeTable& nodes, std::uint64_t unit, std::uint64_t& total_free)
        : map(nodes, unit, total_free) {}
    BlockMap map;
    Range* range = nullptr;  // mapped piece by piece; null: segments
    bool segments_only = false;
    std::map<std::uint64_t, Piece> pieces;  // by offset in the range
  };
  // A block that was given back and waits for work of several streams.
  struct Waiting {
    NodeId node;
    std::uint16_t owner;
    std::uint64_t epoch;
    std::vector<std::pair<std::uint16_t, std::uint64_t>> uses;  // slot, epoch
  };
  struct Capture {
    std::uint16_t slot;
    bool recording;
    std::vector<NodeId> held;
  };
  // A request on its way.
  struct Wanted {
    const MemoryRequest* request;
    std::uint64_t bytes;  // rounded to units
    std::uint64_t alignment;
    std::uint16_t slot;
    Section* section;
  };
  // The steps of the ladder that a request came to, with their time.
  struct Tried {
    static constexpr std::size_t kMost = 8;
    std::array<std::pair<const char*, std::uint64_t>, kMost> steps{};
    std::size_t count = 0;

    template <class Step>
    auto time(const char* name, Step&& step) {
      const auto begin = std::chrono::steady_clock::now();
      auto outcome = step();
      const auto ns = std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count();
      if (count < kMost) steps[count++] = {name, static_cast<std::uint64_t>(ns)};
      return outcome;
    }
  };
  // Pieces side by side that are taken from where they are, in one node.
  struct Move {
    Section* section = nullptr;
    NodeId node = kNil;
    std::vector<std::pair<std::uint64_t, Piece>> pieces;  // by offset
    std::size_t unmapped = 0;                             // of them, the first

    std::uint64_t bytes() const noexcept {
      return pieces.back().first + pieces.back().second.bytes - pieces.front().first;
    }
  };
  // Memory on its way to addresses [begin, end) of a section, in one node.
  struct Growth {
    explicit Growth(Section& to) : section(to) {}

    Section& section;
    NodeId node = kNil;
    std::uint64_t begin = 0, end = 0;
    Place place;  // of the block
    bool has_access = false;
    std::array<NodeId, 2> beside{kNil, kNil};  // free memory before and after it that is needed
    std::vector<Move> moves;
    // Mapped there: first those that were moved, then new ones.
    std::vector<std::pair<std::uint64_t, Piece>> pieces;
    std::uint64_t made = 0;  // bytes of new pieces among them
    std::uint64_t lost = 0;  // bytes of moved pieces that are no more
  };

  // pool.cpp
  ThreadCache* my_cache() noexcept {  // makes one
    return options_.thread_cache_bytes == 0 ? nullptr : find_my_cache();
  }
  [[gnu::noinline]] ThreadCache* find_my_cache() noexcept;
  // Of the thread's own cache, no lock taken. pop() gives kNoToken where there is no such block on
  // the shelf that was used last, push() false where there is no room.
  bool is_cacheable(const MemoryRequest& request) const noexcept;
  [[gnu::always_inline]] Token pop(ThreadCache& cache, const MemoryRequest& request) noexcept;
  [[gnu::always_inline]] bool push(ThreadCache& cache, Token token, Node& node,
                                   Stream stream) noexcept;
  // The stream's shelf is the one that was used last. False where it was, or there is none.
  bool turn_to(ThreadCache& cache, Stream stream) noexcept;
  std::uint16_t slot_of(Stream stream) const noexcept;  // with the lock
  [[gnu::always_inline]] Block hand_out(const Node& node, Token token,
                                        std::uint64_t requested) const noexcept;
  // To AddressSanitizer, what is free is nobody's, where work is done when a call returns: it sees
  // who reaches from one block into another.
  void show(const Range& range, std::uint64_t offset, std::uint64_t bytes) const noexcept {
    if (kAddressSanitizer && !ordered_ && range.host != nullptr) {
      unpoison(range.host + offset, bytes);
    }
  }
  void hide(const Range& range, std::uint64_t offset, std::uint64_t bytes) const noexcept {
    if (kAddressSanitizer && !ordered_ && range.host != nullptr) poison(range.host + offset, bytes);
  }
  // A block's token is its node's, marked as this pool's in bits that no id has: another pool's
  // block names no node.
  NodeId id_of(const Block& block) const noexcept {
    return static_cast<NodeId>(block.token) ^ mark_;
  }
  // Null for what was given back, or never came from here.
  [[gnu::always_inline]] Node* find_live(const Block& block) const noexcept {
    Node* const node = nodes_.find(id_of(block));
    if (node == nullptr || Node::state(block.token >> 32) != State::Live ||
        node->word.load(std::memory_order_relaxed) != block.token >> 32 ||
        node->range->origin + node->offset != block.offset || node->range->handle != block.handle) {
      return nullptr;
    }
    return node;
  }
  // With the lock. As many blocks are looked at as block_map.hpp says.
  NodeId take(const Wanted& wanted, std::uint32_t probes = BlockMap::kFew) noexcept;
  [[gnu::noinline]] NodeId take_held(const Wanted& wanted) noexcept;  // with the lock
  // With the lock.
  void give_back(NodeId id, std::uint16_t slot) noexcept {
    Node& node = nodes_[id];
    if ((node.tag & kTagUsed) != 0 || order_.captures(slot)) return hold_back(id, slot);
    give(id, slot, order_.epoch(slot));
  }
  [[gnu::noinline]] void hold_back(NodeId id, std::uint16_t slot) noexcept;  // with the lock
  // With the lock: free, as what `slot` used last up to `epoch`.
  void give(NodeId id, std::uint16_t slot, std::uint64_t epoch) noexcept {
    if (order_.done(slot) >= epoch) slot = StreamOrder::kNobody;
    sections_[nodes_[id].range->section].map.give(id, slot, epoch);
  }
  // From inside the cache's door, or while it is closed.
  void empty(ThreadCache& cache) noexcept;
  void empty(ThreadCache& cache, ThreadCache::Shelf& shelf, std::uint32_t bin) noexcept;
  [[gnu::noinline]] void make_room(ThreadCache& cache, Stream stream, std::uint64_t bytes) noexcept;
  void* shelf_key(Stream stream) const noexcept { return ordered_ ? stream.handle : nullptr; }
  [[gnu::noinline]] void refuse_free(const Block& block, const char* why) noexcept;
  [[gnu::noinline]] Result<Block> allocate_otherwise(const MemoryRequest& request) noexcept;
  [[gnu::always_inline]] Result<Block> allocate_shared(const MemoryRequest& request) noexcept;
  [[gnu::noinline]] void deallocate_otherwise(Block block, Stream stream) noexcept;

  // With the lock.
  void prepare(NodeId id, const Wanted& wanted) noexcept {
    Node& node = nodes_[id];
    node.use = wanted.request->bytes;
    const std::uint32_t bin = bin_of(node.bytes >> unit_shift_);
    node.tag = wanted.request->lifetime == Lifetime::Transient && bin < ThreadCache::kCachedBins &&
                       !order_.captures(wanted.slot)
                   ? static_cast<std::uint16_t>(bin)
                   : static_cast<std::uint16_t>(kTagSpecial | name_tag(wanted.request->tag));
    peak_in_use_ = std::max(peak_in_use_, in_use());
  }
  [[gnu::noinline]] std::uint16_t name_tag(std::string_view tag) noexcept;  // with the lock
  std::vector<MemoryReport::Share> top_tags() const noexcept;               // with the lock
  template <class Which>
  std::vector<ThreadCache*> close_caches(Which&& which) const noexcept;  // with slow_
  // With slow_: no thread has blocks of the stream, nor will before its cache is opened again.
  std::vector<ThreadCache*> close_shelves(Stream stream) noexcept;

  // ladder.cpp; with slow_
  Result<NodeId> climb(const Wanted& wanted) noexcept;
  bool call_hooks(std::uint64_t bytes) noexcept;  // without any lock
  bool poll() noexcept;                           // true where something was settled
  bool settle(std::uint16_t slot) noexcept;       // with the lock
  bool empty_caches() noexcept;
  Result<StreamOrder::Recorded> record(std::uint16_t slot) noexcept;
  void record_waited() noexcept;
  NodeId steal(const Wanted& wanted) noexcept;
  bool wants_moves(const Wanted& wanted) const noexcept;
  bool finish_own(std::uint16_t slot) noexcept;
  bool sync(std::uint16_t slot) noexcept;
  bool sync_all() noexcept;
  void drop(std::vector<StreamOrder::Recorded> events) noexcept;

  // growth.cpp; with slow_
  Result<NodeId> grow(const Wanted& wanted, bool sparing) noexcept;
  void open_range(Section& section) noexcept;
  Result<NodeId> grow_range(const Wanted& wanted, bool sparing) noexcept;
  // With the lock. Pieces of `bytes` in all: at most, or at least where there are as many.
  std::vector<Move> choose_moves(std::uint64_t bytes, bool at_most) noexcept;
  std::uint64_t base_of(const Block& block) const noexcept;  // what blocks in it are aligned by
  static Block addresses(const Range& range) noexcept;
  Status map_moved(Growth& growth) noexcept;
  Status map_new(Growth& growth, std::uint64_t bytes) noexcept;
  void unmap_all(Growth& growth) noexcept;
  void destroy(const Piece& piece) noexcept;
  void count_segment() noexcept;
  void take_beside(Growth& growth, const Place& place) noexcept;  // with the lock
  NodeId finish(Growth& growth, const Wanted& wanted, bool whole) noexcept;
  NodeId assemble(Growth& growth, const Wanted& wanted) noexcept;  // with the lock
  void settle_move(const Move& move) noexcept;                     // with the lock
  void add_reserved(std::uint64_t bytes) noexcept;                 // with the lock
  void remove_reserved(std::uint64_t bytes) noexcept;              // with the lock
  Result<NodeId> grow_segments(const Wanted& wanted) noexcept;
  Result<NodeId> add_segment(const Wanted& wanted, const Block& block) noexcept;
  void give_segment(const Range& range) noexcept;
  std::uint64_t release_free(std::uint64_t keep_bytes) noexcept;
  void release_section(Section& section) noexcept;
  // With the lock.
  std::uint64_t in_use() const noexcept { return reserved_ - total_free_ - moving_; }
  // How much may be reserved before memory is moved rather than asked for; with the lock.
  std::uint64_t spare_target(std::uint64_t bytes) const noexcept {
    const std::uint64_t used = in_use() + bytes;
    return static_cast<std::uint64_t>(
        options_.slack * static_cast<double>(used > peak_in_use_ ? used : peak_in_use_));
  }
  Status take_budget(std::uint64_t bytes) noexcept;

  // report.cpp
  Status describe_failure(const Wanted& wanted, const Status& cause, const Tried& tried) noexcept;

  const std::shared_ptr<MemoryUpstream> upstream_;
  const std::string device_;
  const PoolOptions options_;
  const std::shared_ptr<Budget> budget_;
  const MemoryKind kind_;
  const bool ordered_;
  const std::uint64_t unit_;
  const std::uint32_t unit_shift_;
  const std::uint64_t granule_;  // of mapping; 0: segments
  const std::uint64_t serial_;   // never used again
  const NodeId mark_;

  mutable SpinLock lock_;  // what follows
  NodeTable nodes_;
  std::uint64_t total_free_ = 0;
  std::array<Section, kLifetimes> sections_;
  StreamOrder order_;
  std::vector<Waiting> waiting_;
  std::unordered_map<NodeId, std::vector<std::uint16_t>> extra_uses_;
  std::unordered_map<CaptureId, Capture> captures_;
  CaptureId next_capture_ = 1;
  std::vector<std::string> tags_;
  Counters shared_;  // what went over no thread's shelves, and of threads that have ended
  std::uint64_t reserved_ = 0, peak_reserved_ = 0, reserved_total_ = 0, released_total_ = 0;
  std::uint64_t moving_ = 0;  // reserved, and neither in use nor free
  std::uint64_t peak_in_use_ = 0;
  bool has_moved_ = false;  // memory, or would have to

  mutable std::mutex slow_;  // one thread climbs at a time; taken before lock_
  std::vector<ThreadCache*> caches_;
  std::vector<MemoryUpstream::Event> spare_events_;
  struct Hook {
    std::mutex runs;
    ReleaseHook call;
  };
  std::mutex hooks_lock_;  // of the table; not held while one runs
  std::map<std::uint64_t, std::shared_ptr<Hook>> hooks_;
  std::uint64_t next_hook_ = 1;

  std::atomic<std::uint64_t> retries_{0}, ooms_{0}, syncs_{0}, device_allocs_{0}, device_frees_{0};
  std::atomic<std::uint64_t> moves_{0}, driver_calls_{0}, refused_frees_{0};
  std::atomic<std::uint64_t> segments_{0}, peak_segments_{0};
};

template <class Which>
std::vector<ThreadCache*> Pool::close_caches(Which&& which) const noexcept {
  std::vector<ThreadCache*> closed;
  for (ThreadCache* cache : caches_) {
    if (which(*cache)) closed.push_back(cache);
  }
  if (closed.empty()) return closed;
  for (ThreadCache* cache : closed) cache->close();
  heavy_fence();
  for (const ThreadCache* cache : closed) cache->wait_until_left();
  return closed;
}

}  // namespace miniinfer::pool
