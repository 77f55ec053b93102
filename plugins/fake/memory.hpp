#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "miniinfer/sdk/allocator.hpp"

namespace miniinfer::fake {

class Device;

// What memory holds before anybody wrote it, and after it was given back: bytes that make NaN in
// every float type, and bytes that do not.
inline constexpr std::byte kFresh{0xFF};
inline constexpr std::byte kFreed{0xDE};

// The device's memory. A block is known by a number that is no address, so a host that looks into
// it crashes, and every use by a kernel or a copy is checked against the table of blocks. Freed
// blocks are kept for a while, so that their use is noticed. [any-thread]
class Memory final : public sdk::Allocator {
 public:
  Memory(Device& device, std::uint64_t total_bytes);

  miniinfer_mem allocate(std::uint64_t bytes, std::uint64_t alignment,
                         sdk::Stream* stream) override;
  void free(miniinfer_mem mem, std::uint64_t bytes, sdk::Stream* stream) noexcept override;
  sdk::MemoryInfo info() override;

  // Where `bytes` bytes from `mem` are. Throws, and notes a violation, where they are not all
  // inside one live block. `what` names the use.
  std::byte* resolve(miniinfer_mem mem, std::uint64_t bytes, const char* what);

 private:
  struct Block {
    std::unique_ptr<std::byte[]> bytes;
    std::uint64_t size;
    bool live;
  };

  void poison(std::uint64_t handle);

  Device& device_;
  std::uint64_t total_bytes_;
  std::mutex mutex_;
  std::uint64_t next_ = 1;
  std::uint64_t used_bytes_ = 0;
  std::uint64_t quarantined_bytes_ = 0;
  std::map<std::uint64_t, Block> blocks_;
  std::deque<std::uint64_t> quarantine_;  // handles, oldest first
};

}  // namespace miniinfer::fake
