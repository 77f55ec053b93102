#pragma once

#include <cstdint>
#include <mutex>

namespace miniinfer::fake {

// How much memory the device has left, and where in its address space things lie. Addresses are
// never used twice and lie where x86-64 and arm64 have none at all. [any-thread]
class Room {
 public:
  explicit Room(std::uint64_t total_bytes) : total_(total_bytes) {}

  std::uint64_t total() const { return total_; }
  std::uint64_t free() const;
  // False, and takes nothing, where there is less.
  bool take(std::uint64_t bytes);
  void give(std::uint64_t bytes);
  // Throws sdk::Error(OUT_OF_MEMORY) when all have been used.
  std::uint64_t addresses(std::uint64_t bytes, std::uint64_t alignment);

 private:
  const std::uint64_t total_;
  mutable std::mutex mutex_;
  std::uint64_t used_ = 0;
  std::uint64_t next_ = std::uint64_t{1} << 56;
};

}  // namespace miniinfer::fake
