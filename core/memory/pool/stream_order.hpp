#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "core/memory/upstream.hpp"

namespace miniinfer::pool {

// How far the streams' work is known to have come. Each stream has an epoch, which ends when an
// event is recorded on it; a block given back carries the epoch it was given back in, and is free
// for everyone once that epoch is known to be done. A stream that was made to wait for another's
// event may have its blocks up to that epoch before: a vector clock (Fidge 1988, Mattern 1989), of
// which only what was ordered is kept.
//
// Streams are slots, small numbers that are used again after a stream has gone and all its blocks
// are settled. Slot 0 is nobody: no work. Calls no driver: who does so tells it. [one-at-a-time]
class StreamOrder {
 public:
  static constexpr std::uint16_t kNobody = 0;
  static constexpr std::uint16_t kUnknown = 0xffff;
  static constexpr std::size_t kMost = 4096;

  struct Recorded {
    std::uint64_t epoch;
    MemoryUpstream::Event event;
  };

  StreamOrder() : slots_(1) {}

  // kUnknown where it is not among them.
  std::uint16_t find(Stream stream) const noexcept {
    for (std::size_t slot = 1; slot < slots_.size(); ++slot) {
      if (slots_[slot].used && slots_[slot].stream.handle == stream.handle) {
        return static_cast<std::uint16_t>(slot);
      }
    }
    return kUnknown;
  }
  // Its slot; kUnknown where there are too many.
  std::uint16_t add(Stream stream);
  // All its work is done. Gives the events that were recorded on it, which are nobody's now.
  std::vector<Recorded> remove(std::uint16_t slot);

  std::size_t end() const noexcept { return slots_.size(); }
  bool is_used(std::uint16_t slot) const noexcept { return slots_[slot].used; }
  Stream stream(std::uint16_t slot) const noexcept { return slots_[slot].stream; }
  std::uint64_t epoch(std::uint16_t slot) const noexcept { return slots_[slot].epoch; }
  // 0: nothing is known.
  std::uint64_t done(std::uint16_t slot) const noexcept { return slots_[slot].done; }
  bool captures(std::uint16_t slot) const noexcept { return slots_[slot].captures; }
  void set_captures(std::uint16_t slot, bool captures) noexcept {
    slots_[slot].captures = captures;
  }

  // An event was recorded on the stream: its epoch has ended. Gives which.
  std::uint64_t recorded(std::uint16_t slot, MemoryUpstream::Event event);
  // It was not, after all. What was given back since then waits a little longer than it has to.
  void forget_newest(std::uint16_t slot) noexcept { slots_[slot].recorded.pop_back(); }
  // The latest event recorded; null where all were seen done.
  const Recorded* newest(std::uint16_t slot) const noexcept {
    return slots_[slot].recorded.empty() ? nullptr : &slots_[slot].recorded.back();
  }
  // The first event that is not known to be done.
  const Recorded* oldest(std::uint16_t slot) const noexcept {
    return slots_[slot].recorded.empty() ? nullptr : &slots_[slot].recorded.front();
  }
  // Epochs up to this are done. Gives the events of those epochs, which are nobody's now.
  std::vector<Recorded> finished(std::uint16_t slot, std::uint64_t epoch);
  // The host has waited for all work of the stream.
  std::vector<Recorded> synced(std::uint16_t slot) { return finished(slot, slots_[slot].epoch++); }
  // Later work of `user` waits for what `owner` did up to `epoch`.
  void waits(std::uint16_t user, std::uint16_t owner, std::uint64_t epoch);
  // Up to which of the owner's epochs work that `user` does from now on comes later.
  std::uint64_t seen(std::uint16_t user, std::uint16_t owner) const noexcept;

 private:
  struct Slot {
    Stream stream;
    bool used = false;
    bool captures = false;
    std::uint64_t epoch = 1;
    std::uint64_t done = 0;
    std::deque<Recorded> recorded;
    std::vector<std::uint64_t> seen;  // by slot
  };
  std::vector<Slot> slots_;
};

}  // namespace miniinfer::pool
