#pragma once

// Random work on a pool, as a program with several streams does it, over a device that knows every
// conflict. One Fuzz is one thread of that program; threads hand blocks to each other through a
// Mailbox. What the pool owes its user is checked on the way; expect() throws what it finds.

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/memory/budget.hpp"
#include "miniinfer/pool_allocator.hpp"
#include "tests/memory/pool/ordered_device.hpp"

namespace miniinfer::testing {

inline void expect(bool truth, const std::string& what) {
  if (!truth) throw std::runtime_error(what);
}

// The pool's books, the device's and the budget's tell the same.
inline void check_books(PoolAllocator& pool, OrderedDevice& device, const Budget& budget,
                        std::uint64_t live, std::uint64_t bytes, std::uint64_t refused) {
  const std::string wrong = pool.check();
  expect(wrong.empty(), wrong);
  expect(device.violations().empty(), device.violations());
  const PoolStats stats = pool.pool_stats();
  const auto equal = [](std::uint64_t a, std::uint64_t b, const char* what) {
    expect(a == b, format("%s: %llu, not %llu", what, static_cast<unsigned long long>(a),
                          static_cast<unsigned long long>(b)));
  };
  equal(stats.allocation.current, live, "blocks in use");
  equal(stats.requested_bytes.current, bytes, "bytes in use");
  equal(stats.reserved_bytes.current, device.used(), "bytes reserved");
  equal(budget.used(), device.used(), "bytes of the budget");
  equal(stats.num_refused_frees, refused, "frees refused");
  expect(stats.allocated_bytes.peak <= stats.reserved_bytes.peak, "more in use than reserved");
  expect(stats.num_device_alloc - stats.num_device_free == stats.segment.current, "segments");
}

struct Item {
  Block block;
  std::set<void*> users;  // streams whose work on it nothing has ordered yet, by handle
  bool in_graph = false;
};

struct Mailbox {
  std::mutex mutex;
  std::vector<Item> items;
};

struct FuzzOptions {
  std::uint64_t seed = 1;
  std::size_t streams = 3;
  std::uint64_t largest = std::uint64_t{4} << 20;
  std::uint64_t most_live = std::uint64_t{40} << 20;
  bool captures = true;
  bool removes = true;
  bool faults = false;
  bool bad_frees = true;
};

class Fuzz {
 public:
  Fuzz(PoolAllocator& pool, OrderedDevice& device, const FuzzOptions& options,
       Mailbox* mailbox = nullptr)
      : pool_(pool), device_(device), options_(options), mailbox_(mailbox), random_(options.seed) {
    for (std::size_t i = 0; i < options.streams; ++i) streams_.push_back(new_stream());
  }

  std::uint64_t live_bytes() const { return live_bytes_; }
  std::uint64_t live() const { return items_.size(); }
  std::uint64_t refused() const { return refused_; }

  void run(std::uint64_t steps) {
    for (std::uint64_t i = 0; i < steps; ++i) step();
  }

  void step() {
    const std::uint64_t what = below(1000);
    if (options_.faults && below(50) == 0) device_.fail_at(1 + below(6), below(4) == 0);
    if (options_.faults && below(20) == 0) device_.heal();
    if (what < 400) return allocate();
    if (what < 760) return free_any();
    if (what < 860) return use();
    if (what < 900) return synced();
    if (what < 908) return void(pool_.trim(below(options_.most_live)));
    if (what < 912) return limit();
    if (what < 920 && options_.removes) return renew_stream();
    if (what < 940 && options_.captures) return capture();
    if (what < 960) return launch();
    if (what < 970 && options_.bad_frees) return free_twice();
    if (mailbox_ != nullptr) return trade();
  }

  // Gives everything back.
  void finish() {
    device_.heal();
    pool_.set_limit(~std::uint64_t{0});
    if (capture_) end_capture();
    release_graph();
    for (const Stream stream : streams_) device_.finish(stream);
    for (Item& item : items_) pool_.deallocate(item.block, {});
    items_.clear();
    taken_.clear();
    live_bytes_ = 0;
    for (const Stream stream : streams_) {
      pool_.remove_stream(stream);
      device_.destroy_stream(stream);
    }
    streams_.clear();
  }

 private:
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  Stream any_stream() { return streams_[below(streams_.size())]; }
  bool is_captured(Stream stream) const { return capture_ && captured_.handle == stream.handle; }

  Stream new_stream() {
    const Stream stream = device_.create_stream();
    const Status status = pool_.add_stream(stream);
    expect(status.ok(), "add_stream: " + status.to_string());
    return stream;
  }

  std::uint64_t any_size() {
    switch (below(8)) {
      case 0:
        return 1 + below(options_.largest);
      case 1:
      case 2:
        return 1 + below(options_.largest / 16);
      case 3:
        return std::uint64_t{512} << below(12);
      default:
        return 1 + below(16 << 10);
    }
  }

  void allocate() {
    MemoryRequest request;
    request.bytes = any_size();
    if (live_bytes_ + request.bytes > options_.most_live) return free_any();
    if (below(8) == 0) request.alignment = std::uint64_t{1} << below(18);
    if (below(10) == 0) request.lifetime = static_cast<Lifetime>(below(4));
    const Stream stream = any_stream();
    if (below(10) != 0) request.stream = stream;
    const Result<Block> block = pool_.allocate(request);
    if (!block) {
      const Code code = block.status().code();
      expect(code == Code::OutOfMemory || code == Code::LimitExceeded ||
                 (options_.faults && code == Code::Internal),
             "allocate: " + block.status().to_string());
      // Nodes do not run out here: it would be a growth that does not find what it made.
      expect(block.status().to_string().find("no host memory") == std::string::npos,
             "allocate: " + block.status().to_string());
      return;
    }
    expect(block->bytes == request.bytes, "a block of another size");
    const std::uint64_t begin = block->handle + block->offset;
    expect(begin % request.alignment == 0, "a block that is not aligned");
    take_addresses(*block);
    live_bytes_ += request.bytes;
    items_.push_back({*block, {}, false});
    touch(items_.back(), stream);
  }

  void touch(Item& item, Stream stream) {
    device_.touch(stream, item.block);
    if (is_captured(stream)) {
      item.in_graph = true;
    } else {
      item.users.insert(stream.handle);
    }
  }

  void take_addresses(const Block& block) {
    const std::uint64_t begin = block.handle + block.offset, end = begin + block.bytes;
    auto after = taken_.lower_bound(begin);
    expect(after == taken_.end() || after->first >= end, "a block that lies in another");
    expect(after == taken_.begin() || std::prev(after)->second <= begin,
           "a block that lies in another");
    taken_.emplace_hint(after, begin, end);
  }

  void free_any() {
    if (items_.empty()) return;
    const std::size_t which = below(items_.size());
    Item item = items_[which];
    Stream stream = any_stream();
    // What a graph uses may go while it is recorded, to its stream, or when it has gone.
    if (item.in_graph) {
      if (!capture_) return;
      stream = captured_;
    }
    if (is_captured(stream) && !item.in_graph) return;
    bool last = false;
    const std::uint64_t how = below(4);
    for (void* const user : item.users) {
      if (user == stream.handle || is_captured(stream)) continue;
      if (capture_ && user == captured_.handle) return;
      if (how == 0) {
        pool_.record_use(item.block, {user});
      } else {
        device_.order({user}, stream);
      }
      last = true;
    }
    if (is_captured(stream)) {
      // The graph comes after what its stream did before; others have to be ordered now.
      for (void* const user : item.users) {
        if (user != captured_.handle) device_.order({user}, captured_);
      }
    } else if (!last && how == 1 && !capture_) {
      for (void* const user : item.users) device_.finish({user});
      stream = {};
    }
    pool_.deallocate(item.block, stream);
    freed_ = item.block;
    taken_.erase(item.block.handle + item.block.offset);
    live_bytes_ -= item.block.bytes;
    items_[which] = items_.back();
    items_.pop_back();
  }

  void use() {
    if (items_.empty()) return;
    Item& item = items_[below(items_.size())];
    const Stream stream = any_stream();
    for (void* const user : item.users) {
      if (capture_ && user == captured_.handle && !is_captured(stream)) return;
      if (user != stream.handle) device_.order({user}, stream);
    }
    if (item.in_graph && !is_captured(stream)) return;
    touch(item, stream);
  }

  void synced() {
    const Stream stream = any_stream();
    if (is_captured(stream)) return;
    device_.finish(stream);
    pool_.synced(stream);
  }

  void limit() {
    pool_.set_limit(below(2) == 0 ? ~std::uint64_t{0} : below(2 * options_.most_live));
  }

  void renew_stream() {
    const std::size_t which = below(streams_.size());
    const Stream old = streams_[which];
    if (is_captured(old) || (graph_ && captured_.handle == old.handle)) return;
    device_.finish(old);
    for (Item& item : items_) item.users.erase(old.handle);
    pool_.remove_stream(old);
    device_.destroy_stream(old);
    streams_[which] = new_stream();
  }

  void capture() {
    if (capture_) return end_capture();
    if (graph_) return release_graph();
    captured_ = any_stream();
    const Result<CaptureId> capture = pool_.begin_capture(captured_);
    expect(capture.ok(), "begin_capture: " + capture.status().to_string());
    capture_ = *capture;
    graph_blocks_.clear();
    device_.begin_capture(captured_, &graph_blocks_);
  }
  void end_capture() {
    device_.end_capture(captured_);
    pool_.end_capture(*capture_);
    graph_ = capture_;
    capture_.reset();
  }
  void launch() {
    if (!graph_) return;
    for (const Block& block : graph_blocks_) device_.touch(captured_, block);
  }
  void release_graph() {
    if (!graph_) return;
    pool_.release_capture(*graph_);
    graph_.reset();
    for (Item& item : items_) {
      if (item.in_graph) item.users.insert(captured_.handle);
      item.in_graph = false;
    }
  }

  void free_twice() {
    if (!freed_) return;
    // Not after another block has come to the same place under the same name.
    pool_.deallocate(*freed_, {});
    freed_.reset();
    ++refused_;
  }

  void trade() {
    const std::lock_guard lock(mailbox_->mutex);
    std::vector<Item>& box = mailbox_->items;
    if (!box.empty() && below(2) == 0) {
      items_.push_back(box.back());
      box.pop_back();
      take_addresses(items_.back().block);
      live_bytes_ += items_.back().block.bytes;
      return;
    }
    if (items_.empty()) return;
    Item item = items_.back();
    if (item.in_graph) return;
    items_.pop_back();
    taken_.erase(item.block.handle + item.block.offset);
    live_bytes_ -= item.block.bytes;
    // Streams stay with their thread: to others it comes with no work in flight.
    for (void* const user : item.users) {
      if (!is_captured({user})) device_.finish({user});
    }
    if (capture_ && item.users.contains(captured_.handle)) device_.finish(captured_);
    item.users.clear();
    box.push_back(item);
  }

  PoolAllocator& pool_;
  OrderedDevice& device_;
  const FuzzOptions options_;
  Mailbox* const mailbox_;
  std::mt19937_64 random_;
  std::vector<Stream> streams_;
  std::vector<Item> items_;
  std::map<std::uint64_t, std::uint64_t> taken_;  // begin, end
  std::uint64_t live_bytes_ = 0;
  std::uint64_t refused_ = 0;
  std::optional<Block> freed_;
  std::optional<CaptureId> capture_, graph_;  // being recorded; recorded
  Stream captured_;
  std::vector<Block> graph_blocks_;
};

}  // namespace miniinfer::testing
