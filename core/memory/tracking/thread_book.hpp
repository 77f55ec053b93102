#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/memory/owned_counter.hpp"
#include "core/memory/tracking/live_table.hpp"
#include "miniinfer/tracking_allocator.hpp"

namespace miniinfer::tracking {

inline constexpr std::size_t kMostTags = 256;  // ids of tags are below; the last is "others"

struct TagCounters {
  OwnedCounter allocations, frees;
  OwnedCounter allocated_bytes, freed_bytes;
};

// One event, as it lies in a ring. Its number is odd-even like a node's word: readers look at it
// before and after.
struct RingEvent {
  std::atomic<std::uint64_t> number{0};  // 0: being written, or never was
  std::atomic<std::uint64_t> time{0};    // nanoseconds of the steady clock
  std::atomic<std::uint64_t> handle{0}, offset{0}, host{0}, bytes{0}, stream{0};
  std::atomic<std::uint32_t> thread{0};
  std::atomic<std::uint16_t> tag{0}, kind{0};
};

// What one thread writes down for a tracker. When the thread ends, the next one that needs a book
// goes on with this.
struct alignas(64) ThreadBook {
  explicit ThreadBook(std::size_t history)
      : ring(history == 0 ? nullptr : new RingEvent[history]), ring_size(history) {}

  // Bytes by which what is given out changed since they were last added to the common sum, and the
  // most that they were.
  std::atomic<std::int64_t> delta{0}, high{0};
  // The list and its length lie apart: two small stores side by side that are read as one stall.
  NodeId free = kNil;
  std::uint32_t thread = 0;
  std::uint64_t sequence = 0;  // of the latest block
  std::uint32_t free_count = 0;

  // The tags that it used last, each at a place that its text decides.
  struct Known {
    const std::string* text = nullptr;
    std::uint16_t id = 0;
  };
  std::array<Known, 8> known{};

  std::array<TagCounters, kMostTags> tags;
  std::unique_ptr<RingEvent[]> ring;
  const std::size_t ring_size;
  std::uint64_t events = 0;

  std::atomic<bool> taken{true};
  std::atomic<bool> has_tracker{true};

  Known& place_of(std::string_view tag) noexcept {
    return known[(tag.size() + static_cast<unsigned char>(tag.back())) % known.size()];
  }
};

}  // namespace miniinfer::tracking
