#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "miniinfer/memory_snapshot.hpp"

namespace miniinfer {

// Addresses of blocks in a snapshot. Where handles are no addresses and the host has no pointer,
// each handle gets a terabyte of addresses of its own, in the order in which it is asked for.
class Places {
 public:
  explicit Places(bool flat_address) : flat_(flat_address) {}
  // Goes on where that snapshot has come to.
  explicit Places(const MemorySnapshot& snapshot) : flat_(snapshot.flat_address) {
    for (const MemorySnapshot::Segment& segment : snapshot.segments) {
      bases_.emplace(segment.handle, segment.address - segment.offset);
    }
  }

  std::uint64_t address(std::uint64_t handle, std::uint64_t offset, const std::byte* host) {
    const auto known = bases_.find(handle);
    if (known != bases_.end()) return known->second + offset;
    if (host != nullptr) return reinterpret_cast<std::uintptr_t>(host);
    if (flat_) return handle + offset;
    return bases_.emplace(handle, (std::uint64_t{1} << 40) * (1 + bases_.size())).first->second +
           offset;
  }

 private:
  const bool flat_;
  std::map<std::uint64_t, std::uint64_t> bases_;  // of a handle: the address of its offset 0
};

}  // namespace miniinfer
