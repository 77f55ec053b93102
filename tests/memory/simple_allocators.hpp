#pragma once

// Small allocators that are right, or wrong in one way that is known to happen, to try the oracle
// on.

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/base/checked_math.hpp"
#include "core/memory/memory_counter.hpp"
#include "core/memory/request.hpp"
#include "core/memory/upstream.hpp"

namespace miniinfer::testing {

enum class Order {
  Waits,    // for the stream, whenever it gives something back: right
  Ignores,  // all order
  Merges,   // takes another stream's free memory whole after waiting for what that one had given
            // back before, as RMM did: rmm#2489
};

// Cuts first fits from one block of all the memory there is. Each stream has free memory of its own
// and an event after what it gave back last. One thread at a time.
class CuttingAllocator final : public Allocator {
 public:
  CuttingAllocator(MemoryUpstream& upstream, Order order) : upstream_(upstream), order_(order) {
    all_ = upstream_.allocate_raw(upstream_.info().free_bytes, 4096, {}).value();
    lists_[nullptr].free[0] = all_.bytes;
  }
  ~CuttingAllocator() override {
    for (auto& [stream, list] : lists_) {
      if (list.event.handle == nullptr) continue;
      static_cast<void>(upstream_.sync(list.event));
      upstream_.destroy_event(list.event);
    }
    upstream_.deallocate_raw(all_, {});
  }

  Result<Block> allocate(const MemoryRequest& request) noexcept override {
    Status status = check_request(request, "test", {MemoryKind::Device});
    if (!status.ok()) return status;
    if (request.bytes == 0) return Block{};
    List& own = list_of(request.stream);
    std::uint64_t offset = cut(own, request);
    for (auto& [stream, other] : lists_) {
      if (offset != kNone) break;
      if (&other == &own || other.free.empty()) continue;
      if (order_ == Order::Merges && other.event.handle != nullptr) {
        static_cast<void>(upstream_.wait(other.event, request.stream));
      }
      for (const auto& [at, bytes] : other.free) put(own, at, bytes);
      other.free.clear();
      offset = cut(own, request);
    }
    if (offset == kNone) {
      counter_.fail();
      return out_of_memory(request, "test", info());
    }
    counter_.add(request.bytes);
    return Block{all_.handle, offset, request.bytes, nullptr};
  }

  void deallocate(Block block, Stream stream) noexcept override {
    if (block.handle == 0) return;
    counter_.subtract(block.bytes);
    List& list = list_of(stream);
    if (order_ != Order::Ignores && stream.handle != nullptr) {
      if (list.event.handle == nullptr) list.event = upstream_.create_event().value();
      static_cast<void>(upstream_.record(list.event, stream));
      if (order_ == Order::Waits) static_cast<void>(upstream_.sync(list.event));
    }
    put(list, block.offset, block.bytes);
  }

  // The stream is destroyed next: what it has is free for all.
  void remove_stream(Stream stream) {
    if (order_ != Order::Merges) return;
    List& list = list_of(stream);
    for (const auto& [at, bytes] : list.free) put(lists_[nullptr], at, bytes);
    if (list.event.handle != nullptr) upstream_.destroy_event(list.event);
    lists_.erase(stream.handle);
  }

  MemoryStats stats() const noexcept override { return counter_.read(); }
  MemoryInfo info() const noexcept override { return {all_.bytes, all_.bytes}; }

 private:
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};
  struct List {
    std::map<std::uint64_t, std::uint64_t> free;  // offset: bytes
    MemoryUpstream::Event event{};
  };

  List& list_of(Stream stream) { return lists_[order_ == Order::Merges ? stream.handle : nullptr]; }

  static void put(List& list, std::uint64_t offset, std::uint64_t bytes) {
    auto at = list.free.emplace(offset, bytes).first;
    const auto next = std::next(at);
    if (next != list.free.end() && at->first + at->second == next->first) {
      at->second += next->second;
      list.free.erase(next);
    }
    if (at == list.free.begin()) return;
    const auto last = std::prev(at);
    if (last->first + last->second != at->first) return;
    last->second += at->second;
    list.free.erase(at);
  }

  static std::uint64_t cut(List& list, const MemoryRequest& request) {
    for (const auto& [offset, bytes] : list.free) {
      const std::uint64_t begin = align_up(offset, request.alignment);
      const std::uint64_t end = begin + request.bytes;
      if (end > offset + bytes) continue;
      const std::uint64_t whole_begin = offset, whole_end = offset + bytes;
      list.free.erase(offset);
      if (begin != whole_begin) list.free.emplace(whole_begin, begin - whole_begin);
      if (end != whole_end) list.free.emplace(end, whole_end - end);
      return begin;
    }
    return kNone;
  }

  MemoryUpstream& upstream_;
  const Order order_;
  Block all_;
  std::map<void*, List> lists_;
  MemoryCounter counter_;
};

// Maps a piece for every block and unmaps it when the block comes back, after waiting for the
// stream, or without: vllm#43020.
class MappingAllocator final : public Allocator {
 public:
  MappingAllocator(MemoryUpstream& upstream, bool waits)
      : upstream_(upstream), unit_(upstream.properties().granularity), waits_(waits) {
    range_ = upstream_.reserve_addresses(align_up(kAddresses, unit_)).value();
    event_ = waits ? upstream_.create_event().value() : MemoryUpstream::Event{};
  }
  ~MappingAllocator() override {
    if (waits_) upstream_.destroy_event(event_);
    upstream_.release_addresses(range_);
  }

  Result<Block> allocate(const MemoryRequest& request) noexcept override {
    Status status = check_request(request, "test", {MemoryKind::Device});
    if (!status.ok()) return status;
    if (request.bytes == 0) return Block{};
    const std::uint64_t bytes = align_up(request.bytes, unit_);
    const Result<MemoryUpstream::Physical> piece = upstream_.create_physical(bytes);
    if (!piece) {
      counter_.fail();
      return piece.status();
    }
    if (next_ + bytes > range_.bytes) next_ = 0;  // what was there is long gone
    const std::uint64_t offset = next_;
    status = upstream_.map(range_, offset, *piece, bytes);
    const bool mapped = status.ok();
    if (mapped) status = upstream_.set_access(range_, offset, bytes);
    if (!status.ok()) {
      if (mapped) static_cast<void>(upstream_.unmap(range_, offset, bytes));
      upstream_.destroy_physical(*piece);
      counter_.fail();
      return status;
    }
    next_ += bytes;
    pieces_[offset] = *piece;
    counter_.add(request.bytes);
    return Block{range_.handle, offset, request.bytes, nullptr};
  }

  void deallocate(Block block, Stream stream) noexcept override {
    if (block.handle == 0) return;
    counter_.subtract(block.bytes);
    if (waits_ && stream.handle != nullptr) {
      static_cast<void>(upstream_.record(event_, stream));
      static_cast<void>(upstream_.sync(event_));
    }
    static_cast<void>(upstream_.unmap(range_, block.offset, align_up(block.bytes, unit_)));
    upstream_.destroy_physical(pieces_[block.offset]);
    pieces_.erase(block.offset);
  }

  MemoryStats stats() const noexcept override { return counter_.read(); }
  MemoryInfo info() const noexcept override { return upstream_.info(); }

 private:
  static constexpr std::uint64_t kAddresses = std::uint64_t{1} << 40;

  MemoryUpstream& upstream_;
  const std::uint64_t unit_;
  const bool waits_;
  Block range_;
  MemoryUpstream::Event event_{};
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, MemoryUpstream::Physical> pieces_;
  MemoryCounter counter_;
};

}  // namespace miniinfer::testing
