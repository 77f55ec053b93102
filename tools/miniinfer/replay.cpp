#include "replay.hpp"

#include <algorithm>
#include <chrono>
#include <vector>

namespace miniinfer::command {
namespace {

constexpr std::size_t kPiece = 1 << 14;  // events from one look for a stop to the next

bool lacks_memory(const Status& status) {
  return status.code() == Code::OutOfMemory || status.code() == Code::LimitExceeded;
}

std::uint64_t calls(const MemoryStats& stats) {
  return stats.allocations + stats.frees + stats.failures;
}

class Replay {
 public:
  Replay(const AllocationTrace& trace, std::span<DeviceContext> contexts, Allocator& allocator)
      : trace_(trace), contexts_(contexts), allocator_(allocator), slots_(trace.blocks) {
    for (const DeviceContext& context : contexts) streams_.push_back(context.stream());
  }

  Status begin() {
    if (PoolAllocator* const pool = allocator_.pool()) {
      for (const Stream stream : streams_) {
        if (Status status = pool->add_stream(stream); !status.ok()) return status;
      }
    }
    return {};
  }

  // The part that is timed.
  Status run(const std::stop_token& stop) {
    for (std::size_t from = 0; from < trace_.events.size(); from += kPiece) {
      if (stop.stop_requested()) return {Code::Cancelled, "the replay was stopped"};
      const std::size_t to = std::min(from + kPiece, trace_.events.size());
      for (std::size_t i = from; i < to; ++i) {
        const AllocationTrace::Event& event = trace_.events[i];
        Slot& slot = slots_[event.block];
        if (event.takes) {
          const Result<Block> block =
              allocator_.allocate({.bytes = event.bytes, .stream = streams_[event.stream]});
          if (block) {
            slot = {*block, true};
          } else if (Status status = failed(i, block.status()); !status.ok()) {
            return status;
          }
        } else if (slot.live) {
          slot.live = false;
          allocator_.deallocate(slot.block, streams_[event.stream]);
        }
      }
    }
    return {};
  }

  // Gives back what is live.
  Status end() {
    Status first;
    for (DeviceContext& context : contexts_) {
      if (Status status = context.sync(); first.ok()) first = std::move(status);
    }
    for (Slot& slot : slots_) {
      if (slot.live) allocator_.deallocate(slot.block, {});
      slot.live = false;
    }
    if (PoolAllocator* const pool = allocator_.pool()) {
      for (const Stream stream : streams_) pool->remove_stream(stream);
    }
    return first;
  }

  // Of the requests that were served.
  std::uint64_t live_peak() const {
    std::vector<bool> is_live(trace_.blocks);
    std::uint64_t live = 0, peak = 0;
    auto next_failure = failures_.begin();
    for (std::size_t i = 0; i < trace_.events.size(); ++i) {
      const AllocationTrace::Event& event = trace_.events[i];
      if (next_failure != failures_.end() && *next_failure == i) {
        ++next_failure;
      } else if (event.takes) {
        is_live[event.block] = true;
        peak = std::max(peak, live += event.bytes);
      } else if (is_live[event.block]) {
        is_live[event.block] = false;
        live -= event.bytes;
      }
    }
    return peak;
  }

  std::size_t failures() const { return failures_.size(); }
  const Status& first_failure() const { return first_failure_; }

 private:
  struct Slot {
    Block block;
    bool live = false;
  };

  Status failed(std::size_t event, const Status& status) {
    if (!lacks_memory(status)) return status;
    if (failures_.empty()) first_failure_ = status;
    failures_.push_back(event);
    return {};
  }

  const AllocationTrace& trace_;
  const std::span<DeviceContext> contexts_;
  Allocator& allocator_;
  std::vector<Stream> streams_;
  std::vector<Slot> slots_;
  std::vector<std::size_t> failures_;  // events, in their order
  Status first_failure_;
};

}  // namespace

Result<Replayed> replay(const AllocationTrace& trace, std::span<DeviceContext> contexts,
                        Allocator& allocator, const std::stop_token& stop) {
  Replay replay(trace, contexts, allocator);
  const std::uint64_t calls_before = calls(allocator.stats());
  Status status = replay.begin();
  const auto begin = std::chrono::steady_clock::now();
  if (status.ok()) status = replay.run(stop);
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;

  Replayed result;
  result.ns_per_op = took.count() / static_cast<double>(trace.events.size());
  result.live_peak = replay.live_peak();
  if (PoolAllocator* const pool = allocator.pool()) {
    const PoolStats stats = pool->pool_stats();
    result.reserved_peak = stats.reserved_bytes.peak;
    result.driver_calls = stats.num_driver_calls;
  } else {
    result.reserved_peak = result.live_peak;
    result.driver_calls = calls(allocator.stats()) - calls_before;
  }
  result.failures = replay.failures();
  result.first_failure = replay.first_failure();
  Status end = replay.end();
  if (!status.ok()) return status;
  if (!end.ok()) return end;
  return result;
}

}  // namespace miniinfer::command
