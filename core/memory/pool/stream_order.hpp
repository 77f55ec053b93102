#pragma once

#include <array>
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

  StreamOrder() : slots_(1), handles_(1) {}

  // Of a stream that is not null; kUnknown where it is not among them.
  std::uint16_t find(Stream stream) const noexcept {
    const std::uint16_t hint = hints_[hint_of(stream)];
    if (handles_[hint] == stream.handle) return hint;
    return search(stream);
  }
  // Its slot; kUnknown where there are too many.
  std::uint16_t add(Stream stream);
  // All its work is done. Gives the events that were recorded on it, which are nobody's now.
  std::vector<Recorded> remove(std::uint16_t slot);

  std::size_t end() const noexcept { return slots_.size(); }
  bool is_used(std::uint16_t slot) const noexcept { return handles_[slot] != nullptr; }
  Stream stream(std::uint16_t slot) const noexcept { return {handles_[slot]}; }
  std::uint64_t epoch(std::uint16_t slot) const noexcept { return slots_[slot].epoch; }
  // 0: nothing is known.
  std::uint64_t done(std::uint16_t slot) const noexcept { return slots_[slot].done; }
  bool captures(std::uint16_t slot) const noexcept { return slots_[slot].captures; }
  void set_captures(std::uint16_t slot, bool captures) noexcept {
    slots_[slot].captures = captures;
  }

  // An event was recorded on the stream: its epoch has ended. Gives which.
  std::uint64_t recorded(std::uint16_t slot, MemoryUpstream::Event event);
  // It was not, after all. False where the event was given away as done meanwhile. What was given
  // back since then waits a little longer than it has to.
  bool forget(std::uint16_t slot, std::uint64_t epoch);
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
    bool captures = false;
    std::uint64_t epoch = 1;
    std::uint64_t done = 0;
    std::deque<Recorded> recorded;
    std::vector<std::uint64_t> seen;  // by slot
  };

  static constexpr std::size_t kHints = 64;
  static std::size_t hint_of(Stream stream) noexcept {
    return reinterpret_cast<std::uintptr_t>(stream.handle) * 0x9e3779b97f4a7c15u >> 58;
  }
  std::uint16_t search(Stream stream) const noexcept;

  std::vector<Slot> slots_;
  std::vector<void*> handles_;  // of the streams, by slot; null: none
  mutable std::array<std::uint16_t, kHints> hints_{};
};

}  // namespace miniinfer::pool
