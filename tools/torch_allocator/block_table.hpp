#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "miniinfer/allocator.hpp"

namespace miniinfer::torch_allocator {

// The blocks behind the addresses that PyTorch knows. Threads meet only where their addresses have
// the same shard. [any-thread]
class BlockTable {
 public:
  struct Entry {
    Block block;
    int device = 0;
  };

  // Throws std::bad_alloc.
  void add(std::uint64_t address, const Entry& entry) {
    Shard& shard = shard_of(address);
    const std::lock_guard lock(shard.mutex);
    shard.entries.insert_or_assign(address, entry);
  }
  std::optional<Entry> find(std::uint64_t address) {
    Shard& shard = shard_of(address);
    const std::lock_guard lock(shard.mutex);
    const auto found = shard.entries.find(address);
    return found == shard.entries.end() ? std::nullopt : std::optional(found->second);
  }
  // Only one caller gets it.
  std::optional<Entry> remove(std::uint64_t address) {
    Shard& shard = shard_of(address);
    const std::lock_guard lock(shard.mutex);
    const auto found = shard.entries.extract(address);
    return found.empty() ? std::nullopt : std::optional(found.mapped());
  }

 private:
  static constexpr std::size_t kShards = 64;
  struct alignas(64) Shard {
    std::mutex mutex;
    std::unordered_map<std::uint64_t, Entry> entries;
  };

  // Addresses are multiples of 256 at least.
  Shard& shard_of(std::uint64_t address) { return shards_[address * 0x9E3779B97F4A7C15u >> 58]; }

  std::array<Shard, kShards> shards_;
};

}  // namespace miniinfer::torch_allocator
