#include "core/memory/tracking/tracker.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>

#include "core/base/format.hpp"
#include "core/base/log.hpp"

namespace miniinfer::tracking {
namespace {

// A thread's changes are added to the common sum when they come to more than this.
constexpr std::int64_t kBatchBytes = std::int64_t{1} << 20;
constexpr std::uint64_t kBatchNumbers = 64;

// The books of a thread. Trackers and threads end in any order: a book belongs to both, and who
// ends first marks it.
struct OwnBooks {
  struct Entry {
    std::uint64_t serial;
    std::shared_ptr<ThreadBook> book;
  };
  std::vector<Entry> entries;

  ~OwnBooks();
};

// The book that the thread used last.
struct Recent {
  std::uint64_t serial = 0;
  ThreadBook* book = nullptr;
};

thread_local Recent recent __attribute__((tls_model("initial-exec")));
thread_local bool thread_has_ended = false;

OwnBooks::~OwnBooks() {
  recent = {};
  thread_has_ended = true;
  for (Entry& entry : entries) entry.book->taken.store(false, std::memory_order_release);
}

std::uint64_t take_serial() noexcept {
  static std::atomic<std::uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

template <class Write>
inline void Tracker::write(Write&& write) noexcept {
  if (recent.serial == serial_) [[likely]]
    return write(*recent.book);
  ThreadBook* const book = open_book();
  write(*book);
  close_book(*book);
}

Tracker::Tracker(AllocatorPtr upstream, const TrackingOptions& options)
    : upstream_(std::move(upstream)),
      pool_(wrap_pool(*upstream_)),
      options_(options),
      serial_(take_serial()),
      mark_(static_cast<NodeId>(serial_ << LiveTable::kIdBits)) {}

Tracker::~Tracker() {
  report_leaks();
  for (const auto& book : books_) book->has_tracker.store(false, std::memory_order_release);
}

// A thread whose thread-locals are gone takes a book for one block at a time.
ThreadBook* Tracker::open_book() noexcept {
  if (thread_has_ended) return take_book().get();
  thread_local OwnBooks own;
  auto entry = std::find_if(own.entries.begin(), own.entries.end(),
                            [&](const OwnBooks::Entry& known) { return known.serial == serial_; });
  if (entry == own.entries.end()) {
    std::erase_if(own.entries, [](const OwnBooks::Entry& known) {
      return !known.book->has_tracker.load(std::memory_order_acquire);
    });
    own.entries.push_back({serial_, take_book()});
    entry = std::prev(own.entries.end());
  }
  recent = {serial_, entry->book.get()};
  return recent.book;
}

void Tracker::close_book(ThreadBook& book) noexcept {
  if (thread_has_ended) book.taken.store(false, std::memory_order_release);
}

std::shared_ptr<ThreadBook> Tracker::take_book() noexcept {
  const std::lock_guard lock(mutex_);
  auto found = std::find_if(books_.begin(), books_.end(), [](const auto& book) {
    bool taken = false;
    return book->taken.compare_exchange_strong(taken, true, std::memory_order_acquire);
  });
  if (found == books_.end()) {
    books_.push_back(std::make_shared<ThreadBook>(options_.history));
    found = std::prev(books_.end());
  }
  (*found)->thread = static_cast<std::uint32_t>(::gettid());
  return *found;
}

inline std::uint16_t Tracker::tag_of(ThreadBook& book, std::string_view tag) noexcept {
  if (tag.empty()) return 0;
  const ThreadBook::Known& known = book.place_of(tag);
  if (known.text != nullptr && *known.text == tag) [[likely]]
    return known.id;
  return intern(book, tag);
}

std::uint16_t Tracker::intern(ThreadBook& book, std::string_view tag) noexcept {
  constexpr std::size_t kOthers = kMostTags - 1;
  const std::lock_guard lock(mutex_);
  auto known = std::find(tags_.begin(), tags_.end(), tag);
  if (known == tags_.end()) {
    if (tags_.size() > kOthers) return kOthers;
    tags_.emplace_back(tags_.size() == kOthers ? std::string_view("others") : tag);
    if (tags_.size() > kOthers) return kOthers;
    known = std::prev(tags_.end());
  }
  const auto id = static_cast<std::uint16_t>(known - tags_.begin());
  book.place_of(tag) = {&*known, id};
  return id;
}

inline NodeId Tracker::take_node(ThreadBook& book) noexcept {
  if (book.free == kNil) [[unlikely]] {
    book.free = nodes_.take_chain();
    if (book.free == kNil) return kNil;
    book.free_count = LiveTable::kChain;
  }
  const NodeId id = book.free;
  book.free = nodes_[id].next;
  --book.free_count;
  return id;
}

inline void Tracker::give_node(ThreadBook& book, NodeId id) noexcept {
  nodes_[id].next = book.free;
  book.free = id;
  if (++book.free_count > 2 * LiveTable::kChain) [[unlikely]]
    give_chain(book);
}

// A thread that only gives back serves one that only takes.
void Tracker::give_chain(ThreadBook& book) noexcept {
  const NodeId first = book.free;
  NodeId last = first;
  for (std::uint32_t i = 1; i < LiveTable::kChain; ++i) last = nodes_[last].next;
  book.free = nodes_[last].next;
  nodes_[last].next = kNil;
  book.free_count -= LiveTable::kChain;
  nodes_.give_chain(first);
}

inline void Tracker::change(ThreadBook& book, std::int64_t bytes) noexcept {
  const std::int64_t delta = book.delta.load(std::memory_order_relaxed) + bytes;
  book.delta.store(delta, std::memory_order_relaxed);
  if (delta > book.high.load(std::memory_order_relaxed)) {
    book.high.store(delta, std::memory_order_relaxed);
  }
  if (delta > kBatchBytes || delta < -kBatchBytes) add_delta(book, delta);
}

void Tracker::add_delta(ThreadBook& book, std::int64_t delta) noexcept {
  const std::int64_t before = total_.fetch_add(delta, std::memory_order_relaxed);
  const std::int64_t now = before + book.high.load(std::memory_order_relaxed);
  std::int64_t peak = peak_.load(std::memory_order_relaxed);
  while (peak < now && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
  book.delta.store(0, std::memory_order_relaxed);
  book.high.store(0, std::memory_order_relaxed);
}

void Tracker::give_up(ThreadBook& book, const MemoryRequest& request,
                      Result<Block>& block) noexcept {
  upstream_->deallocate(*block, request.stream);
  block = Status(Code::OutOfMemory, "no host memory to keep books of so many blocks");
  count_failure(book, request);
}

void Tracker::keep_event(ThreadBook& book, MemoryEvent::Kind kind, const Block& block,
                         Stream stream, std::uint16_t tag) noexcept {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  RingEvent& event = book.ring[book.events % book.ring_size];
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  event.number.store(0, kRelaxed);
  std::atomic_thread_fence(std::memory_order_release);
  event.time.store(static_cast<std::uint64_t>(std::chrono::nanoseconds(now).count()), kRelaxed);
  event.handle.store(block.handle, kRelaxed);
  event.offset.store(block.offset, kRelaxed);
  event.host.store(reinterpret_cast<std::uintptr_t>(block.host), kRelaxed);
  event.bytes.store(block.bytes, kRelaxed);
  event.stream.store(reinterpret_cast<std::uintptr_t>(stream.handle), kRelaxed);
  event.thread.store(book.thread, kRelaxed);
  event.tag.store(tag, kRelaxed);
  event.kind.store(static_cast<std::uint16_t>(kind), kRelaxed);
  event.number.store(++book.events, std::memory_order_release);
}

std::string Tracker::name() const {
  return options_.name.empty() ? "tracker" : "tracker of " + options_.name;
}

void Tracker::count_failure(ThreadBook& book, const MemoryRequest& request) noexcept {
  failures_.fetch_add(1, std::memory_order_relaxed);
  if (book.ring_size == 0) return;
  Block asked;
  asked.bytes = request.bytes;
  keep_event(book, MemoryEvent::Kind::Failure, asked, request.stream, tag_of(book, request.tag));
}

inline Node* Tracker::find_live(const Block& block) const noexcept {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  const auto word = static_cast<std::uint32_t>(block.token >> 32);
  Node* const node = nodes_.find(id_of(block));
  const bool is_live = node != nullptr && (word & 1) != 0 && node->word.load(kRelaxed) == word &&
                       node->handle.load(kRelaxed) == block.handle &&
                       node->offset.load(kRelaxed) == block.offset &&
                       node->bytes.load(kRelaxed) == block.bytes;
  return is_live ? node : nullptr;
}

Block Tracker::as_upstream(const Block& block) const noexcept {
  Block known = block;
  if (const Node* const node = find_live(block)) known.token = node->token.load();
  return known;
}

std::unique_ptr<TrackedPool> Tracker::wrap_pool(Allocator& upstream) {
  PoolAllocator* const pool = upstream.pool();
  if (pool == nullptr) return nullptr;
  return std::make_unique<TrackedPool>(
      *this, *pool, [](const TrackingAllocator& tracker, const Block& block) {
        return static_cast<const Tracker&>(tracker).as_upstream(block);
      });
}

void Tracker::refuse_free(const Block& block) noexcept {
  refused_frees_.fetch_add(1, std::memory_order_relaxed);
  log(MINIINFER_LOG_ERROR, "memory",
      format("a block (handle 0x%" PRIx64 ", offset %" PRIu64
             ", %s) is not taken back by the %s: it was given back already, or never came from "
             "here",
             block.handle, block.offset, format_bytes(block.bytes).c_str(), name().c_str()));
}

Result<Block> Tracker::allocate(const MemoryRequest& request) noexcept {
  Result<Block> block = upstream_->allocate(request);
  if (!block.ok() || (*block).handle != 0) [[likely]] {
    write([&](ThreadBook& book) __attribute__((always_inline)) { add(book, request, block); });
  }
  return block;
}

inline void Tracker::add(ThreadBook& book, const MemoryRequest& request,
                         Result<Block>& block) noexcept {
  if (!block.ok()) [[unlikely]]
    return count_failure(book, request);
  const NodeId id = take_node(book);
  if (id == kNil) [[unlikely]]
    return give_up(book, request, block);
  if (book.sequence % kBatchNumbers == 0) [[unlikely]] {
    book.sequence = next_sequence_.fetch_add(kBatchNumbers, std::memory_order_relaxed);
  }
  constexpr auto kRelaxed = std::memory_order_relaxed;
  const std::uint16_t tag = tag_of(book, request.tag);
  Node& node = nodes_[id];
  const std::uint32_t word = node.word.load(kRelaxed) + 1;
  // Who reads the node meanwhile sees that its word has changed before it sees what follows.
  std::atomic_thread_fence(std::memory_order_release);
  Block& given = *block;
  const std::uint64_t bytes = given.bytes;
  node.handle.store(given.handle, kRelaxed);
  node.offset.store(given.offset, kRelaxed);
  node.bytes.store(bytes, kRelaxed);
  node.token.store(given.token, kRelaxed);
  node.stream.store(reinterpret_cast<std::uintptr_t>(request.stream.handle), kRelaxed);
  node.sequence.store(++book.sequence, kRelaxed);
  node.thread_and_tag.store(std::uint32_t{tag} << Node::kTagShift | book.thread, kRelaxed);
  node.word.store(word, std::memory_order_release);
  TagCounters& counters = book.tags[tag];
  counters.allocated_bytes.add(bytes);
  counters.allocations.add(1);
  change(book, static_cast<std::int64_t>(bytes));
  if (book.ring_size != 0) [[unlikely]] {
    keep_event(book, MemoryEvent::Kind::Allocate, given, request.stream, tag);
  }
  given.token = std::uint64_t{word} << 32 | (id ^ mark_);
}

void Tracker::deallocate(Block block, Stream stream) noexcept {
  if (block.handle == 0) return;
  constexpr auto kRelaxed = std::memory_order_relaxed;
  auto word = static_cast<std::uint32_t>(block.token >> 32);
  Node* const node = find_live(block);
  if (node == nullptr) [[unlikely]]
    return refuse_free(block);
  // Its block is another's as soon as the word has changed.
  const NodeId id = id_of(block);
  const std::uint64_t token = node->token.load(kRelaxed);
  const auto tag =
      static_cast<std::uint16_t>(node->thread_and_tag.load(kRelaxed) >> Node::kTagShift);
  if (!node->word.compare_exchange_strong(word, word + 1, std::memory_order_acq_rel, kRelaxed))
      [[unlikely]] {
    return refuse_free(block);
  }
  write([&](ThreadBook& book) __attribute__((always_inline)) {
    TagCounters& counters = book.tags[tag];
    counters.freed_bytes.add(block.bytes);
    counters.frees.add(1);
    change(book, -static_cast<std::int64_t>(block.bytes));
    if (book.ring_size != 0) [[unlikely]] {
      keep_event(book, MemoryEvent::Kind::Free, block, stream, tag);
    }
    give_node(book, id);
  });
  upstream_->deallocate({block.handle, block.offset, block.bytes, block.host, token}, stream);
}

}  // namespace miniinfer::tracking

miniinfer::AllocatorPtr miniinfer::tracking_allocator(AllocatorPtr upstream,
                                                      const TrackingOptions& options) {
  return std::make_shared<tracking::Tracker>(std::move(upstream), options);
}

miniinfer::AllocatorPtr miniinfer::tracking_allocator(AllocatorPtr upstream) {
  return tracking_allocator(std::move(upstream), TrackingOptions{});
}
