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
      ordered_(upstream_->properties().ordered),
      unit_(std::max(kind_ == MemoryKind::Device && ordered_ ? kDeviceUnit : kHostUnit,
                     upstream_->properties().min_alignment)),
      unit_shift_(static_cast<std::uint32_t>(std::countr_zero(unit_))),
      granule_(options.virtual_memory ? upstream_->properties().granularity : 0),
      serial_(take_serial()),
      mark_(static_cast<NodeId>(serial_ << NodeTable::kIdBits)),
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
  if (stream.handle == nullptr || !ordered_) return StreamOrder::kNobody;
  return order_.find(stream);
}

inline Block Pool::hand_out(NodeId id, std::uint64_t requested) const noexcept {
  const Node& node = nodes_[id];
  const Range& range = *node.range;
  const std::uint64_t word = node.word.load(std::memory_order_relaxed);
  return {range.handle, range.origin + node.offset, requested,
          range.host == nullptr ? nullptr : range.host + node.offset, word << 32 | (id ^ mark_)};
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
    ThreadCache::Shelf* const shelf = cache->shelf(shelf_key(request.stream));
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

NodeId Pool::take(const Wanted& wanted, std::uint32_t probes) noexcept {
  if (!nodes_.reserve(2, kNodesToMove)) return kNil;
  NodeId id = order_.captures(wanted.slot) ? take_held(wanted) : kNil;
  if (id == kNil) {
    id = wanted.section->map.take(wanted.bytes, wanted.alignment, wanted.slot, probes);
  }
  if (id != kNil) prepare(id, wanted);
  return id;
}

// What the capture gave back, it may have again: its graph does one after the other.
NodeId Pool::take_held(const Wanted& wanted) noexcept {
  for (auto& [capture, entry] : captures_) {
    if (entry.slot != wanted.slot || !entry.recording) continue;
    const auto fits = std::find_if(entry.held.begin(), entry.held.end(), [&](NodeId id) {
      const Node& node = nodes_[id];
      return node.bytes >= wanted.bytes && node.bytes - wanted.bytes <= wanted.bytes / 8 &&
             (node.tag & kTagUsed) == 0 && &sections_[node.range->section] == wanted.section &&
             (node.range->base + node.offset) % wanted.alignment == 0;
    });
    if (fits == entry.held.end()) return kNil;
    const NodeId id = *fits;
    entry.held.erase(fits);
    nodes_[id].enter(State::Live);
    return id;
  }
  return kNil;
}

void Pool::prepare(NodeId id, const Wanted& wanted) noexcept {
  Node& node = nodes_[id];
  node.use = wanted.request->bytes;
  node.tag = wanted.request->lifetime == Lifetime::Transient && !order_.captures(wanted.slot)
                 ? 0
                 : static_cast<std::uint16_t>(kTagSpecial | name_tag(wanted.request->tag));
  peak_in_use_ = std::max(peak_in_use_, in_use());
}

std::uint16_t Pool::name_tag(std::string_view tag) noexcept {
  constexpr std::uint16_t kMostNames = 255;
  const auto known = std::find(tags_.begin(), tags_.end(), tag);
  if (known == tags_.end() && tags_.size() < kMostNames) {
    tags_.emplace_back(tag);
    return static_cast<std::uint16_t>(tags_.size() - 1);
  }
  if (known == tags_.end() && tags_.size() == kMostNames) tags_.emplace_back("others");
  return known == tags_.end() ? kMostNames : static_cast<std::uint16_t>(known - tags_.begin());
}

Result<Block> Pool::allocate_shared(const MemoryRequest& request, ThreadCache* cache) noexcept {
  const auto fail = [&](Status status) {
    ooms_.fetch_add(1, std::memory_order_relaxed);
    return status;
  };
  if (Status status = check_request(request, device_, {kind_}); !status.ok()) return fail(status);
  if (Status status = upstream_->ready(); !status.ok()) return fail(status);
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
  ThreadCache::Shelf* const shelf = cache.shelf(shelf_key(stream));
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
    const bool kept = keep(*cache, id_of(block), *node, stream);
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
  std::uint64_t bytes = 0;
  {
    const std::lock_guard lock(lock_);
    Node* const node = find_live(block);
    slot = slot_of(stream);
    if (node == nullptr) {
      why = "it was given back already";
    } else if (slot == StreamOrder::kUnknown) {
      why = "the pool does not know the stream, and keeps it as in use";
    } else {
      cacheable = cache != nullptr && node->tag < kTagSpecial;
      bytes = node->bytes;
      count_free(cache, *node);
      give_back(id_of(block), slot);
    }
  }
  if (why != nullptr) return refuse_free(block, why);
  if (cacheable) make_room(*cache, stream, bytes);
}

// The next one finds a shelf, and room on it.
void Pool::make_room(ThreadCache& cache, Stream stream, std::uint64_t bytes) noexcept {
  if (!cache.enter()) return;
  const std::uint32_t bin = bin_of(bytes >> unit_shift_);
  if (ThreadCache::Shelf* const shelf = cache.shelf(shelf_key(stream)); shelf == nullptr) {
    // Inside the door a stream that is known stays so, and does not begin to capture.
    std::uint16_t slot = StreamOrder::kUnknown;
    {
      const std::lock_guard lock(lock_);
      slot = slot_of(stream);
      if (slot != StreamOrder::kUnknown && order_.captures(slot)) slot = StreamOrder::kUnknown;
    }
    if (slot != StreamOrder::kUnknown) cache.add_shelf(shelf_key(stream), slot);
  } else if (bin < ThreadCache::kCachedBins && shelf->counts[bin] >= kMostPerBin) {
    empty(cache, *shelf, bin);
  } else {
    for (std::uint32_t from = ThreadCache::kCachedBins; from-- > 0;) {
      if (cache.held_bytes.read() <= options_.thread_cache_bytes / 2) break;
      for (const auto& other : cache.shelves()) empty(cache, *other, from);
    }
  }
  cache.leave();
}

void Pool::give_back(NodeId id, std::uint16_t slot) noexcept {
  Node& node = nodes_[id];
  if ((node.tag & kTagUsed) != 0 || order_.captures(slot)) return hold_back(id, slot);
  give(id, slot, order_.epoch(slot));
}

void Pool::empty(ThreadCache& cache) noexcept {
  for (const auto& shelf : cache.shelves()) {
    for (std::uint32_t bin = 0; bin < ThreadCache::kCachedBins; ++bin) empty(cache, *shelf, bin);
  }
}

void Pool::empty(ThreadCache& cache, ThreadCache::Shelf& shelf, std::uint32_t bin) noexcept {
  // The lock is not kept from others for long.
  constexpr int kAtOnce = 32;
  while (shelf.heads[bin] != kNil) {
    const std::lock_guard lock(lock_);
    for (int i = 0; i < kAtOnce && shelf.heads[bin] != kNil; ++i) {
      const NodeId id = shelf.heads[bin];
      shelf.heads[bin] = nodes_[id].next;
      cache.held_bytes.subtract(nodes_[id].bytes);
      give_back(id, shelf.slot);
    }
  }
  shelf.counts[bin] = 0;
}

void Pool::retire(ThreadCache* cache) noexcept {
  const std::lock_guard slow(slow_);
  std::erase(caches_, cache);
  empty(*cache);
  const std::lock_guard lock(lock_);
  shared_.add_frees(cache->counters);
  shared_.add_allocations(cache->counters);
}

Pool::~Pool() {
  {
    // Caches of threads that live on are theirs to destroy.
    const std::lock_guard lock(ends());
    const std::lock_guard slow(slow_);
    for (ThreadCache* cache : caches_) {
      empty(*cache);
      cache->forget_pool();
    }
    // Memory that work in flight uses cannot be unmapped.
    sync_all();
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
