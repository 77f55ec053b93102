#pragma once

// A device for tests of the pool: no memory, all of the order. Streams have vector clocks, a touch
// says which addresses work uses, and any two touches of one address that nothing orders are a
// violation, whatever a real device's timing would have made of them. Memory that is unmapped,
// freed or never given is known as well.
//
// Order is decided when work is put on a stream, as it is on real devices: a record keeps the
// stream's clock, a wait joins it, the host's waits join the host's clock, and all work that is put
// on a stream later comes after what the host knows. [any-thread]

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/format.hpp"
#include "core/memory/upstream.hpp"

namespace miniinfer::testing {

struct OrderedDeviceOptions {
  std::uint64_t total = std::uint64_t{1} << 30;
  std::uint64_t granularity = 64 << 10;  // 0: segments
  bool ordered = true;
  bool flat_address = true;
  std::uint64_t seed = 1;
  unsigned done_percent = 50;  // how often an event that is asked turns out to be done
};

class OrderedDevice final : public MemoryUpstream {
 public:
  using Options = OrderedDeviceOptions;
  using Clock = std::vector<std::uint64_t>;

  explicit OrderedDevice(const Options& options = {}) : options_(options), random_(options.seed) {
    properties_.kind = MemoryKind::Device;
    properties_.min_alignment = 256;
    properties_.flat_address = options.flat_address;
    properties_.ordered = options.ordered;
    properties_.granularity = options.granularity;
  }

  // Calls that can fail do so: the k-th from now on, or all from that one.
  void fail_at(std::uint64_t k, bool from_then_on) {
    const std::lock_guard lock(mutex_);
    fail_at_ = calls_ + k;
    fail_on_ = from_then_on;
  }
  void heal() { fail_at(~std::uint64_t{0} >> 1, false); }
  std::uint64_t calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

  Stream create_stream() {
    const std::lock_guard lock(mutex_);
    const std::size_t number = next_stream_++;
    auto made = std::make_unique<Queue>();
    made->number = number;
    made->clock = host_;
    const Stream stream{made.get()};
    streams_.emplace(stream.handle, std::move(made));
    return stream;
  }
  void destroy_stream(Stream stream) {
    const std::lock_guard lock(mutex_);
    streams_.erase(stream.handle);
  }
  // Work on the stream uses the block.
  void touch(Stream stream, const Block& block) {
    const std::lock_guard lock(mutex_);
    Queue& queue = at(stream);
    if (queue.graph != nullptr) {
      queue.graph->push_back(block);
    } else {
      touch(queue, block);
    }
  }
  // What is put on `later` from now on comes after what is on `earlier`.
  void order(Stream earlier, Stream later) {
    const std::lock_guard lock(mutex_);
    join(at(later).clock, at(earlier).clock);
  }
  // The host waits for the stream.
  void finish(Stream stream) {
    const std::lock_guard lock(mutex_);
    join(host_, at(stream).clock);
  }
  void begin_capture(Stream stream, std::vector<Block>* graph) {
    const std::lock_guard lock(mutex_);
    at(stream).graph = graph;
  }
  void end_capture(Stream stream) { begin_capture(stream, nullptr); }

  // What went wrong, the first few.
  std::string violations() const {
    const std::lock_guard lock(mutex_);
    return violations_;
  }
  std::uint64_t used() const {
    const std::lock_guard lock(mutex_);
    return used_;
  }
  // Nothing is left of what was asked for.
  bool is_clean() const {
    const std::lock_guard lock(mutex_);
    return used_ == 0 && raw_.empty() && pieces_.empty() && mapped_.empty() && ranges_.empty() &&
           events_ == 0;
  }

  const Properties& properties() const noexcept override { return properties_; }
  MemoryInfo info() const noexcept override {
    const std::lock_guard lock(mutex_);
    return {options_.total - used_, options_.total};
  }

  Result<Block> allocate_raw(std::uint64_t bytes, std::uint64_t alignment,
                             Stream) noexcept override {
    const std::lock_guard lock(mutex_);
    if (fails()) return fault("allocate_raw");
    if (bytes > options_.total - used_) return full(bytes);
    used_ += bytes;
    const std::uint64_t address = new_addresses(bytes, std::max(alignment, kPage));
    raw_.emplace(address, bytes);
    return Block{address, 0, bytes, nullptr};
  }
  void deallocate_raw(const Block& block, Stream) noexcept override {
    const std::lock_guard lock(mutex_);
    const auto found = raw_.find(block.handle);
    if (found == raw_.end() || found->second != block.bytes) return wrong("freed what it is not");
    forget(block.handle, block.bytes);
    used_ -= block.bytes;
    raw_.erase(found);
  }
  Result<Block> reserve_addresses(std::uint64_t bytes) noexcept override {
    const std::lock_guard lock(mutex_);
    if (fails()) return fault("reserve_addresses");
    const std::uint64_t address = new_addresses(bytes, kPage);
    ranges_.emplace(address, bytes);
    return Block{address, 0, bytes, nullptr};
  }
  void release_addresses(const Block& block) noexcept override {
    const std::lock_guard lock(mutex_);
    if (ranges_.erase(block.handle) == 0) return wrong("released addresses that are not reserved");
    const auto inside = mapped_.lower_bound(block.handle);
    if (inside != mapped_.end() && inside->first < block.handle + block.bytes) {
      wrong("released addresses with memory");
    }
  }
  Result<Physical> create_physical(std::uint64_t bytes) noexcept override {
    const std::lock_guard lock(mutex_);
    if (fails()) return fault("create_physical");
    if (bytes > options_.total - used_) return full(bytes);
    used_ += bytes;
    pieces_.emplace(++next_piece_, Piece{bytes, false});
    return Physical{reinterpret_cast<void*>(next_piece_)};
  }
  void destroy_physical(Physical physical) noexcept override {
    const std::lock_guard lock(mutex_);
    const auto found = pieces_.find(reinterpret_cast<std::uintptr_t>(physical.handle));
    if (found == pieces_.end()) return wrong("destroyed a piece that is none");
    if (found->second.mapped) wrong("destroyed a piece that is mapped");
    used_ -= found->second.bytes;
    pieces_.erase(found);
  }
  Status map(const Block& range, std::uint64_t offset, Physical physical,
             std::uint64_t bytes) noexcept override {
    const std::lock_guard lock(mutex_);
    if (fails()) return fault("map");
    const auto piece = pieces_.find(reinterpret_cast<std::uintptr_t>(physical.handle));
    const std::uint64_t address = range.handle + offset;
    if (piece == pieces_.end() || piece->second.mapped || piece->second.bytes != bytes ||
        offset % options_.granularity != 0 || offset + bytes > range.bytes) {
      wrong("mapped a piece that is not free to be mapped there");
      return {Code::InvalidArgument, "map"};
    }
    const auto after = mapped_.upper_bound(address + bytes - 1);
    if (after != mapped_.begin() &&
        std::prev(after)->first + std::prev(after)->second.bytes > address) {
      wrong("mapped over a piece");
      return {Code::InvalidArgument, "map"};
    }
    piece->second.mapped = true;
    mapped_.emplace(address, Mapping{bytes, piece->first, false});
    return {};
  }
  Status set_access(const Block& range, std::uint64_t offset,
                    std::uint64_t bytes) noexcept override {
    const std::lock_guard lock(mutex_);
    if (fails()) return fault("set_access");
    std::uint64_t at = range.handle + offset;
    const std::uint64_t end = at + bytes;
    while (at < end) {
      const auto found = mapped_.find(at);
      if (found == mapped_.end()) {
        wrong("gave access to what is not mapped");
        return {Code::InvalidArgument, "set_access"};
      }
      found->second.access = true;
      at += found->second.bytes;
    }
    return {};
  }
  Status unmap(const Block& range, std::uint64_t offset, std::uint64_t bytes) noexcept override {
    const std::lock_guard lock(mutex_);
    if (fails()) return fault("unmap");
    const auto found = mapped_.find(range.handle + offset);
    if (found == mapped_.end() || found->second.bytes != bytes) {
      wrong("unmapped what is no piece");
      return {Code::InvalidArgument, "unmap"};
    }
    forget(found->first, bytes);
    pieces_.at(found->second.piece).mapped = false;
    mapped_.erase(found);
    return {};
  }

  Result<Event> create_event() noexcept override {
    const std::lock_guard lock(mutex_);
    if (fails()) return fault("create_event");
    ++events_;
    return Event{new Clock};
  }
  void destroy_event(Event event) noexcept override {
    const std::lock_guard lock(mutex_);
    --events_;
    delete static_cast<Clock*>(event.handle);
  }
  Status record(Event event, Stream stream) noexcept override {
    const std::lock_guard lock(mutex_);
    if (fails()) return fault("record");
    if (at(stream).graph != nullptr) wrong("recorded an event on a stream under capture");
    *static_cast<Clock*>(event.handle) = at(stream).clock;
    return {};
  }
  Status wait(Event event, Stream stream) noexcept override {
    const std::lock_guard lock(mutex_);
    if (fails()) return fault("wait");
    if (at(stream).graph != nullptr) wrong("made a stream under capture wait");
    join(at(stream).clock, *static_cast<Clock*>(event.handle));
    return {};
  }
  Result<bool> done(Event event) noexcept override {
    const std::lock_guard lock(mutex_);
    if (fails()) return fault("done");
    if (random_() % 100 >= options_.done_percent) return false;
    join(host_, *static_cast<Clock*>(event.handle));
    return true;
  }
  Status sync(Event event) noexcept override {
    const std::lock_guard lock(mutex_);
    if (fails()) return fault("sync");
    join(host_, *static_cast<Clock*>(event.handle));
    return {};
  }

 private:
  static constexpr std::uint64_t kPage = 1 << 21;

  struct Queue {
    std::size_t number = 0;
    Clock clock;
    std::vector<Block>* graph = nullptr;
  };
  struct Piece {
    std::uint64_t bytes;
    bool mapped;
  };
  struct Mapping {
    std::uint64_t bytes;
    std::uintptr_t piece;
    bool access;
  };
  // Who used addresses last, from the key to `end`.
  struct Use {
    std::uint64_t end;
    std::size_t stream;
    std::uint64_t time;
  };

  static void join(Clock& into, const Clock& other) {
    if (into.size() < other.size()) into.resize(other.size());
    for (std::size_t i = 0; i < other.size(); ++i) into[i] = std::max(into[i], other[i]);
  }
  static std::uint64_t time(const Clock& clock, std::size_t stream) {
    return stream < clock.size() ? clock[stream] : 0;
  }
  Queue& at(Stream stream) {
    const auto found = streams_.find(stream.handle);
    if (found != streams_.end()) return *found->second;
    wrong("named a stream that is none");
    return nowhere_;
  }
  bool fails() { return ++calls_ == fail_at_ || (fail_on_ && calls_ > fail_at_); }
  static Status fault(const char* call) {
    return {Code::Internal, std::string(call) + " fails because the test says so"};
  }
  Status full(std::uint64_t bytes) const {
    return {Code::OutOfMemory,
            format("%llu bytes asked, %llu free", static_cast<unsigned long long>(bytes),
                   static_cast<unsigned long long>(options_.total - used_))};
  }
  std::uint64_t new_addresses(std::uint64_t bytes, std::uint64_t alignment) {
    const std::uint64_t address = (next_address_ + alignment - 1) / alignment * alignment;
    next_address_ = address + bytes + kPage;
    return address;
  }
  void wrong(const std::string& what) {
    if (violations_.size() < 1000) violations_ += what + "\n";
  }

  void touch(Queue& queue, const Block& block) {
    join(queue.clock, host_);
    if (queue.clock.size() <= queue.number) queue.clock.resize(queue.number + 1);
    const std::uint64_t now = ++queue.clock[queue.number];
    const std::uint64_t begin = block.handle + block.offset;
    if (!has_memory(begin, begin + block.bytes)) wrong("work uses addresses without memory");
    cut_out(begin, begin + block.bytes, queue.clock, "work on a stream");
    uses_.emplace(begin, Use{begin + block.bytes, queue.number, now});
  }
  // The uses in [begin, end) are over, and known to be by whoever has this clock.
  void cut_out(std::uint64_t begin, std::uint64_t end, const Clock& clock, const char* who) {
    auto use = uses_.lower_bound(begin);
    if (use != uses_.begin() && std::prev(use)->second.end > begin) --use;
    while (use != uses_.end() && use->first < end) {
      const auto [first, old] = *use;
      if (time(clock, old.stream) < old.time) {
        wrong(format("%s meets work of stream %zu at 0x%llx that nothing orders", who, old.stream,
                     static_cast<unsigned long long>(std::max(first, begin))));
      }
      use = uses_.erase(use);
      if (first < begin) uses_.emplace(first, Use{begin, old.stream, old.time});
      if (old.end > end) use = uses_.emplace(end, old).first;
    }
  }
  void forget(std::uint64_t begin, std::uint64_t bytes) {
    cut_out(begin, begin + bytes, host_, "memory given back");
  }
  bool has_memory(std::uint64_t begin, std::uint64_t end) const {
    auto raw = raw_.upper_bound(begin);
    if (raw != raw_.begin() && (--raw)->first + raw->second >= end) return true;
    auto piece = mapped_.upper_bound(begin);
    if (piece == mapped_.begin()) return false;
    for (--piece; begin < end; ++piece) {
      if (piece == mapped_.end() || piece->first > begin || !piece->second.access) return false;
      begin = piece->first + piece->second.bytes;
    }
    return true;
  }

  const Options options_;
  Properties properties_;
  mutable std::mutex mutex_;  // what follows
  std::mt19937_64 random_;
  std::uint64_t calls_ = 0, fail_at_ = ~std::uint64_t{0};
  bool fail_on_ = false;
  std::string violations_;
  std::uint64_t used_ = 0, next_address_ = std::uint64_t{1} << 40;
  std::map<std::uint64_t, std::uint64_t> raw_, ranges_;
  std::unordered_map<std::uintptr_t, Piece> pieces_;
  std::uintptr_t next_piece_ = 0;
  std::map<std::uint64_t, Mapping> mapped_;
  std::map<std::uint64_t, Use> uses_;
  std::uint64_t events_ = 0;
  Clock host_;
  std::size_t next_stream_ = 0;
  std::unordered_map<void*, std::unique_ptr<Queue>> streams_;
  Queue nowhere_;
};

}  // namespace miniinfer::testing
