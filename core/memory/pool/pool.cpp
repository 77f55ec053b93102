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

  ~OwnCaches();
};

// The cache that the thread used last. No pool's serial is 0.
struct RecentCache {
  std::uint64_t serial = 0;
  ThreadCache* cache = nullptr;
};
thread_local constinit RecentCache recent_cache __attribute__((tls_model("initial-exec")));
// Null before a thread's first block and after its end.
thread_local OwnCaches* own_caches __attribute__((tls_model("initial-exec"))) = nullptr;
thread_local bool thread_has_ended = false;

OwnCaches::~OwnCaches() {
  recent_cache = {};
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

ThreadCache* Pool::find_my_cache() noexcept {
  if (recent_cache.serial == serial_) return recent_cache.cache;
  OwnCaches* const own = own_caches != nullptr ? own_caches : make_own_caches();
  if (own == nullptr) return nullptr;
  for (OwnCaches::Entry& entry : own->entries) {
    if (entry.serial != serial_) continue;
    recent_cache = {serial_, entry.cache.get()};
    return entry.cache.get();
  }
  auto cache = std::make_unique<ThreadCache>();
  recent_cache = {serial_, cache.get()};
  {
    const std::lock_guard lock(slow_);
    caches_.push_back(cache.get());
  }
  const std::lock_guard lock(ends());
  std::erase_if(own->entries,
                [](const OwnCaches::Entry& entry) { return !entry.cache->has_pool(); });
  own->entries.push_back({serial_, this, std::move(cache)});
  return recent_cache.cache;
}

std::uint16_t Pool::slot_of(Stream stream) const noexcept {
  if (stream.handle == nullptr || !ordered_) return StreamOrder::kNobody;
  return order_.find(stream);
}

inline Block Pool::hand_out(const Node& node, Token token, std::uint64_t requested) const noexcept {
  const Range& range = *node.range;
  show(range, node.offset, requested);
  return {range.handle, range.origin + node.offset, requested,
          range.host == nullptr ? nullptr : range.host + node.offset, token ^ mark_};
}

void Pool::refuse_free(const Block& block, const char* why) noexcept {
  refused_frees_.fetch_add(1, std::memory_order_relaxed);
  log(MINIINFER_LOG_ERROR, "memory",
      format("a block of %s (handle 0x%" PRIx64 ", offset %" PRIu64 ", %s) is not taken back by "
             "the pool of %s: %s",
             std::string(to_string(kind_)).c_str(), block.handle, block.offset,
             format_bytes(block.bytes).c_str(), device_.c_str(), why));
}

inline bool Pool::is_cacheable(const MemoryRequest& request) const noexcept {
  return request.alignment <= unit_ && is_power_of_two(request.alignment) &&
         request.kind == kind_ && request.lifetime == Lifetime::Transient &&
         request.bytes - 1 < options_.thread_cache_bytes;
}

inline Token Pool::pop(ThreadCache& cache, const MemoryRequest& request) noexcept {
  if (!cache.enter()) return kNoToken;
  const std::uint64_t bytes = align_up(request.bytes, unit_);
  const std::uint32_t bin = bin_of(bytes >> unit_shift_);
  ThreadCache::Shelf* const shelf = cache.recent(shelf_key(request.stream));
  if (shelf != nullptr && bin < ThreadCache::kCachedBins) [[likely]] {
    Token token = shelf->heads[bin];
    if (token != kNoToken) [[likely]] {
      Node& node = nodes_[static_cast<NodeId>(token)];
      if (node.bytes == bytes || (node.bytes > bytes && bytes <= kExactAbove)) [[likely]] {
        token = Node::advance(token, State::Live, 32);
        shelf->heads[bin] = node.use;
        node.use = request.bytes;
        node.enter(token);
        cache.counters.count_allocation(node.bytes, request.bytes);
        cache.leave();
        return token;
      }
    }
  }
  cache.leave();
  return kNoToken;
}

inline bool Pool::push(ThreadCache& cache, Token token, Node& node, Stream stream) noexcept {
  const std::uint32_t bin = node.tag;
  if (bin >= ThreadCache::kCachedBins || !cache.enter()) return false;
  ThreadCache::Shelf* const shelf = cache.recent(shelf_key(stream));
  if (shelf != nullptr && cache.held_bytes() + node.bytes <= options_.thread_cache_bytes)
      [[likely]] {
    const Token below = shelf->heads[bin];
    const std::uint32_t depth =
        below == kNoToken ? 0 : nodes_[static_cast<NodeId>(below)].later + 1;
    if (depth < kMostPerBin) [[likely]] {
      hide(*node.range, node.offset, node.bytes);
      token = Node::advance(token, State::Cached, 32);
      cache.counters.count_free(node.bytes, node.use);
      node.enter(token);
      node.use = below;
      node.later = depth;
      shelf->heads[bin] = token;
      cache.leave();
      return true;
    }
  }
  cache.leave();
  return false;
}

bool Pool::turn_to(ThreadCache& cache, Stream stream) noexcept {
  if (!cache.enter()) return false;
  void* const key = shelf_key(stream);
  const bool turns = cache.recent(key) == nullptr && cache.shelf(key) != nullptr;
  cache.leave();
  return turns;
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

inline Result<Block> Pool::allocate_shared(const MemoryRequest& request) noexcept {
  const auto fail = [&](Status status) {
    ooms_.fetch_add(1, std::memory_order_relaxed);
    return status;
  };
  if (!is_power_of_two(request.alignment) || request.kind != kind_) {
    return fail(check_request(request, device_, {kind_}));
  }
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
    if (id != kNil) shared_.count_allocation(nodes_[id].bytes, request.bytes);
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
    const std::lock_guard lock(lock_);
    shared_.count_allocation(nodes_[id].bytes, request.bytes);
  }
  const Node& node = nodes_[id];
  const Token word = node.word.load(std::memory_order_relaxed);
  return hand_out(node, word << 32 | id, request.bytes);
}

Result<Block> Pool::allocate(const MemoryRequest& request) noexcept {
  if (recent_cache.serial == serial_ && is_cacheable(request)) [[likely]] {
    const Token token = pop(*recent_cache.cache, request);
    if (token != kNoToken) [[likely]]
      return hand_out(nodes_[static_cast<NodeId>(token)], token, request.bytes);
  }
  return allocate_otherwise(request);
}

// It is another pool's turn in this thread, or another stream's; or there is no such block.
Result<Block> Pool::allocate_otherwise(const MemoryRequest& request) noexcept {
  const bool is_recent = recent_cache.serial == serial_;
  if (ThreadCache* const cache = my_cache(); cache != nullptr && is_cacheable(request) &&
                                             (turn_to(*cache, request.stream) || !is_recent)) {
    const Token token = pop(*cache, request);
    if (token != kNoToken) {
      return hand_out(nodes_[static_cast<NodeId>(token)], token, request.bytes);
    }
  }
  return allocate_shared(request);
}

void Pool::deallocate(Block block, Stream stream) noexcept {
  if (recent_cache.serial == serial_) [[likely]] {
    Node* const node = find_live(block);
    if (node != nullptr && push(*recent_cache.cache, block.token ^ mark_, *node, stream)) [[likely]]
      return;
  }
  deallocate_otherwise(block, stream);
}

void Pool::deallocate_otherwise(Block block, Stream stream) noexcept {
  if (block.handle == 0) return;
  const bool is_recent = recent_cache.serial == serial_;
  ThreadCache* const cache = my_cache();
  if (cache != nullptr && (turn_to(*cache, stream) || !is_recent)) {
    Node* const node = find_live(block);
    if (node != nullptr && push(*cache, block.token ^ mark_, *node, stream)) return;
  }
  const char* why = nullptr;
  bool cacheable = false;
  std::uint64_t bytes = 0;
  {
    const std::lock_guard lock(lock_);
    Node* const node = find_live(block);
    const std::uint16_t slot = slot_of(stream);
    if (node == nullptr) {
      why = "it was given back already, or never came from here";
    } else if (slot == StreamOrder::kUnknown) {
      why = "the pool does not know the stream, and keeps it as in use";
    } else {
      cacheable = cache != nullptr && node->tag < ThreadCache::kCachedBins;
      bytes = node->bytes;
      hide(*node->range, node->offset, bytes);
      shared_.count_free(bytes, node->use);
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
  } else if (const Token top = shelf->heads[bin];
             top != kNoToken && nodes_[static_cast<NodeId>(top)].later + 1 >= kMostPerBin) {
    empty(cache, *shelf, bin);
  } else {
    for (std::uint32_t from = ThreadCache::kCachedBins; from-- > 0;) {
      if (cache.held_bytes() <= options_.thread_cache_bytes / 2) break;
      for (const auto& other : cache.shelves()) empty(cache, *other, from);
    }
  }
  cache.leave();
}

void Pool::empty(ThreadCache& cache) noexcept {
  for (const auto& shelf : cache.shelves()) {
    for (std::uint32_t bin = 0; bin < ThreadCache::kCachedBins; ++bin) empty(cache, *shelf, bin);
  }
}

void Pool::empty(ThreadCache& cache, ThreadCache::Shelf& shelf, std::uint32_t bin) noexcept {
  // The lock is not kept from others for long.
  constexpr int kAtOnce = 32;
  while (shelf.heads[bin] != kNoToken) {
    const std::lock_guard lock(lock_);
    for (int i = 0; i < kAtOnce && shelf.heads[bin] != kNoToken; ++i) {
      const auto id = static_cast<NodeId>(shelf.heads[bin]);
      shelf.heads[bin] = nodes_[id].use;
      cache.emptied_bytes.add(nodes_[id].bytes);
      give_back(id, shelf.slot);
    }
  }
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
