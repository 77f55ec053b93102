#include "core/memory/pool/pool.hpp"

#include <algorithm>
#include <bit>
#include <cinttypes>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"
#include "core/base/log.hpp"
#include "core/memory/pool/make_pool.hpp"
#include "core/memory/request.hpp"

namespace miniinfer::pool {
namespace {

constexpr std::uint64_t kDeviceUnit = 512;
constexpr std::uint64_t kHostUnit = 64;
// Larger blocks are given out of a cache only where they have the very size.
constexpr std::uint64_t kExactAbove = std::uint64_t{1} << 20;
// A block in a cache keeps its neighbours from being merged: not too many of them.
constexpr std::uint32_t kMostPerBin = 256;

// The caches of a thread. Pools and threads end in any order: whoever ends takes this lock.
std::mutex& ends() {
  static std::mutex* const mutex = new std::mutex;
  return *mutex;
}

struct OwnCaches {
  struct Entry {
    std::uint64_t serial;
    Pool* pool;  // as long as the cache has not been told to forget it
    std::unique_ptr<ThreadCache> cache;
  };
  std::vector<Entry> entries;
  std::uint64_t recent_serial = 0;
  ThreadCache* recent = nullptr;

  ~OwnCaches();
};

// Null before a thread's first block and after its end.
thread_local OwnCaches* own_caches __attribute__((tls_model("initial-exec"))) = nullptr;
thread_local bool thread_has_ended = false;

OwnCaches::~OwnCaches() {
  own_caches = nullptr;
  thread_has_ended = true;
  const std::lock_guard lock(ends());
  for (Entry& entry : entries) {
    if (entry.cache->has_pool()) entry.pool->retire(entry.cache.get());
  }
}

OwnCaches* make_own_caches() {
  if (thread_has_ended) return nullptr;
  thread_local OwnCaches caches;
  return own_caches = &caches;
}

std::atomic<std::uint64_t> next_serial{1};

// Never given twice, as an address may be.
std::uint64_t take_serial() noexcept { return next_serial.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

Pool::Pool(std::shared_ptr<MemoryUpstream> upstream, std::string device, const PoolOptions& options,
           std::shared_ptr<Budget> budget)
    : upstream_(std::move(upstream)),
      device_(std::move(device)),
      options_(options),
      budget_(std::make_shared<Budget>("the pool of " + device_, options.limit, std::move(budget))),
      kind_(upstream_->properties().kind),
      unit_(std::max(
          kind_ == MemoryKind::Device && upstream_->properties().ordered ? kDeviceUnit : kHostUnit,
          upstream_->properties().min_alignment)),
      unit_shift_(static_cast<std::uint32_t>(std::countr_zero(unit_))),
      granule_(options.virtual_memory ? upstream_->properties().granularity : 0),
      serial_(take_serial()),
      sections_{Section(nodes_, unit_, total_free_), Section(nodes_, unit_, total_free_),
                Section(nodes_, unit_, total_free_), Section(nodes_, unit_, total_free_)} {}

inline ThreadCache* Pool::my_cache() noexcept {
  OwnCaches* own = own_caches;
  if (own != nullptr && own->recent_serial == serial_) [[likely]]
    return own->recent;
  if (options_.thread_cache_bytes == 0) return nullptr;
  if (own == nullptr && (own = make_own_caches()) == nullptr) return nullptr;
  for (OwnCaches::Entry& entry : own->entries) {
    if (entry.serial != serial_) continue;
    own->recent_serial = serial_;
    return own->recent = entry.cache.get();
  }
  auto cache = std::make_unique<ThreadCache>();
  own->recent_serial = serial_;
  own->recent = cache.get();
  {
    const std::lock_guard lock(slow_);
    caches_.push_back(cache.get());
  }
  const std::lock_guard lock(ends());
  std::erase_if(own->entries,
                [](const OwnCaches::Entry& entry) { return !entry.cache->has_pool(); });
  own->entries.push_back({serial_, this, std::move(cache)});
  return own->recent;
}

std::uint16_t Pool::slot_of(Stream stream) const noexcept {
  if (stream.handle == nullptr || !upstream_->properties().ordered) return StreamOrder::kNobody;
  return order_.find(stream);
}

inline Block Pool::hand_out(NodeId id, std::uint64_t requested) const noexcept {
  const Node& node = nodes_[id];
  const Range& range = *node.range;
  const std::uint64_t word = node.word.load(std::memory_order_relaxed);
  return {range.handle, range.origin + node.offset, requested,
          range.host == nullptr ? nullptr : range.host + node.offset, word << 32 | id};
}

void Pool::refuse_free(const Block& block, const char* why) noexcept {
  refused_frees_.fetch_add(1, std::memory_order_relaxed);
  log(MINIINFER_LOG_ERROR, "memory",
      format("a block of %s (handle 0x%" PRIx64 ", offset %" PRIu64 ", %s) is not taken back by "
             "the pool of %s: %s",
             std::string(to_string(kind_)).c_str(), block.handle, block.offset,
             format_bytes(block.bytes).c_str(), device_.c_str(), why));
}

inline void Pool::count_allocation(ThreadCache* cache, const Node& node) noexcept {
  Counters& counters = cache != nullptr ? cache->counters : shared_;
  counters.allocations.add(1);
  counters.allocated_bytes.add(node.bytes);
  counters.requested_bytes.add(node.use);
}

inline void Pool::count_free(ThreadCache* cache, const Node& node) noexcept {
  Counters& counters = cache != nullptr ? cache->counters : shared_;
  counters.frees.add(1);
  counters.freed_bytes.add(node.bytes);
  counters.returned_bytes.add(node.use);
}

Result<Block> Pool::allocate(const MemoryRequest& request) noexcept {
  ThreadCache* const cache = my_cache();
  if (cache != nullptr && request.alignment <= unit_ && is_power_of_two(request.alignment) &&
      request.kind == kind_ && request.bytes - 1 < options_.thread_cache_bytes &&
      request.lifetime == Lifetime::Transient && cache->enter()) [[likely]] {
    const std::uint64_t bytes = align_up(request.bytes, unit_);
    const std::uint32_t bin = bin_of(bytes >> unit_shift_);
    ThreadCache::Shelf* const shelf = cache->shelf(request.stream.handle);
    if (shelf != nullptr && bin < ThreadCache::kCachedBins) [[likely]] {
      const NodeId id = shelf->heads[bin];
      if (id != kNil) [[likely]] {
        Node& node = nodes_[id];
        if (node.bytes == bytes || (node.bytes > bytes && bytes <= kExactAbove)) [[likely]] {
          shelf->heads[bin] = node.next;
          --shelf->counts[bin];
          cache->held_bytes.subtract(node.bytes);
          node.use = request.bytes;
          node.enter(State::Live);
          count_allocation(cache, node);
          cache->leave();
          return hand_out(id, request.bytes);
        }
      }
    }
    cache->leave();
  }
  return allocate_shared(request, cache);
}

NodeId Pool::take(const Wanted& wanted) noexcept {
  if (!nodes_.reserve(8)) return kNil;
  const auto capture = std::find_if(captures_.begin(), captures_.end(), [&](const auto& entry) {
    return entry.second.slot == wanted.slot && order_.captures(wanted.slot);
  });
  if (capture != captures_.end()) {
    std::vector<NodeId>& held = capture->second.held;
    const auto fits = std::find_if(held.begin(), held.end(), [&](NodeId id) {
      const Node& node = nodes_[id];
      return node.bytes >= wanted.bytes && node.bytes - wanted.bytes <= wanted.bytes / 8 &&
             (node.range->base + node.offset) % wanted.alignment == 0;
    });
    if (fits != held.end()) {
      const NodeId id = *fits;
      held.erase(fits);
      nodes_[id].enter(State::Live);
      prepare(id, wanted);
      return id;
    }
  }
  const NodeId id = wanted.section->map.take(wanted.bytes, wanted.alignment, wanted.slot);
  if (id != kNil) prepare(id, wanted);
  return id;
}

void Pool::prepare(NodeId id, const Wanted& wanted) noexcept {
  Node& node = nodes_[id];
  node.use = wanted.request->bytes;
  node.tag = wanted.request->lifetime == Lifetime::Transient && !order_.captures(wanted.slot)
                 ? 0
                 : kTagSpecial;
  peak_in_use_ = std::max(peak_in_use_, in_use());
}

Result<Block> Pool::allocate_shared(const MemoryRequest& request, ThreadCache* cache) noexcept {
  const auto fail = [&](Status status) {
    ooms_.fetch_add(1, std::memory_order_relaxed);
    return status;
  };
  if (Status status = check_request(request, device_, {kind_}); !status.ok()) return fail(status);
  if (request.bytes == 0) return Block{};
  const auto lifetime = static_cast<std::size_t>(request.lifetime);
  if (lifetime >= kLifetimes) {
    return fail({Code::InvalidArgument,
                 format("allocation on %s: %zu is no lifetime", device_.c_str(), lifetime)});
  }
  Wanted wanted{&request, 0, std::max(request.alignment, unit_), 0, &sections_[lifetime]};
  constexpr std::uint64_t kMost = std::uint64_t{1} << 62;
  if (request.alignment > kMost || !checked_align_up(request.bytes, unit_, &wanted.bytes) ||
      wanted.bytes > kMost) {
    return fail(out_of_memory(request, device_, info()));
  }
  NodeId id = kNil;
  {
    const std::lock_guard lock(lock_);
    wanted.slot = slot_of(request.stream);
    if (wanted.slot != StreamOrder::kUnknown) id = take(wanted);
    if (id != kNil && cache == nullptr) count_allocation(nullptr, nodes_[id]);
  }
  if (wanted.slot == StreamOrder::kUnknown) {
    return fail(
        {Code::InvalidArgument,
         format("allocation of %s on %s: the pool does not know stream %p",
                format_bytes(request.bytes).c_str(), device_.c_str(), request.stream.handle),
         "add_stream() it first"});
  }
  if (id == kNil) {
    Result<NodeId> climbed = climb(wanted);
    if (!climbed) return fail(climbed.status());
    id = *climbed;
    if (cache == nullptr) {
      const std::lock_guard lock(lock_);
      count_allocation(nullptr, nodes_[id]);
    }
  }
  if (cache != nullptr) count_allocation(cache, nodes_[id]);
  return hand_out(id, request.bytes);
}

inline bool Pool::keep(ThreadCache& cache, NodeId id, Node& node, Stream stream) noexcept {
  const std::uint32_t bin = bin_of(node.bytes >> unit_shift_);
  ThreadCache::Shelf* const shelf = cache.shelf(stream.handle);
  if (shelf == nullptr || bin >= ThreadCache::kCachedBins) return false;
  if (cache.held_bytes.read() + node.bytes > options_.thread_cache_bytes ||
      shelf->counts[bin] >= kMostPerBin) {
    return false;
  }
  count_free(&cache, node);
  node.enter(State::Cached);
  node.next = shelf->heads[bin];
  shelf->heads[bin] = id;
  ++shelf->counts[bin];
  cache.held_bytes.add(node.bytes);
  return true;
}

void Pool::deallocate(Block block, Stream stream) noexcept {
  if (block.handle == 0) return;
  ThreadCache* const cache = my_cache();
  Node* const node = find_live(block);
  if (node == nullptr) {
    return refuse_free(block, "it was given back already, or never came from here");
  }
  if (cache != nullptr && node->tag < kTagSpecial && node->bytes <= options_.thread_cache_bytes &&
      cache->enter()) [[likely]] {
    const bool kept = keep(*cache, static_cast<NodeId>(block.token), *node, stream);
    cache->leave();
    if (kept) [[likely]]
      return;
  }
  deallocate_shared(block, stream, cache);
}

void Pool::deallocate_shared(const Block& block, Stream stream, ThreadCache* cache) noexcept {
  const char* why = nullptr;
  std::uint16_t slot = 0;
  bool cacheable = false;
  {
    const std::lock_guard lock(lock_);
    Node* const node = find_live(block);
    slot = slot_of(stream);
    if (node == nullptr) {
      why = "it was given back already";
    } else if (slot == StreamOrder::kUnknown) {
      why = "the pool does not know the stream, and keeps it as in use";
    } else {
      cacheable = node->tag < kTagSpecial;
      count_free(cache, *node);
      give_back(static_cast<NodeId>(block.token), slot);
    }
  }
  if (why != nullptr) return refuse_free(block, why);
  if (cache == nullptr || !cacheable || !cache->enter()) return;
  // The next one finds a shelf, or room on it.
  ThreadCache::Shelf* const shelf = cache->shelf(stream.handle);
  if (shelf == nullptr) {
    cache->add_shelf(stream.handle, slot);
  } else {
    const std::lock_guard lock(lock_);
    empty(*cache, *shelf);
  }
  cache->leave();
}

void Pool::give_back(NodeId id, std::uint16_t slot) noexcept {
  Node& node = nodes_[id];
  if ((node.tag & kTagUsed) != 0 || order_.captures(slot)) return hold_back(id, slot);
  sections_[node.range->section].map.give(id, slot, order_.epoch(slot));
}

void Pool::empty(ThreadCache& cache, ThreadCache::Shelf& shelf) noexcept {
  for (std::uint32_t bin = 0; bin < ThreadCache::kCachedBins; ++bin) {
    for (NodeId id = shelf.heads[bin]; id != kNil;) {
      const NodeId next = nodes_[id].next;
      cache.held_bytes.subtract(nodes_[id].bytes);
      give_back(id, shelf.slot);
      id = next;
    }
    shelf.heads[bin] = kNil;
    shelf.counts[bin] = 0;
  }
}

void Pool::retire(ThreadCache* cache) noexcept {
  const std::lock_guard slow(slow_);
  std::erase(caches_, cache);
  const std::lock_guard lock(lock_);
  for (const auto& shelf : cache->shelves()) empty(*cache, *shelf);
  shared_.add(cache->counters);
}

Pool::~Pool() {
  {
    // Caches of threads that live on are theirs to destroy.
    const std::lock_guard lock(ends());
    const std::lock_guard slow(slow_);
    for (ThreadCache* cache : caches_) cache->forget_pool();
  }
  for (std::size_t slot = 1; slot < order_.end(); ++slot) {
    drop(order_.synced(static_cast<std::uint16_t>(slot)));
  }
  for (const MemoryUpstream::Event event : spare_events_) upstream_->destroy_event(event);
  for (Section& section : sections_) release_section(section);
}

}  // namespace miniinfer::pool

std::shared_ptr<miniinfer::PoolAllocator> miniinfer::make_pool(
    std::shared_ptr<MemoryUpstream> upstream, std::string device, const PoolOptions& options,
    std::shared_ptr<Budget> budget) {
  return std::make_shared<pool::Pool>(std::move(upstream), std::move(device), options,
                                      std::move(budget));
}
