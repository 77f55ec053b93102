#pragma once

#include <string>

#include "core/memory/memory_counter.hpp"
#include "miniinfer/allocator.hpp"

namespace miniinfer {

// Host memory from the C library, as the memory of a device that computes in it. Serves the kinds
// Device and Host. Blocks are aligned to at least 64 bytes and never filled. [any-thread]
class MINIINFER_API CPUAllocator final : public Allocator {
 public:
  // `device` is the name in messages: "cpu:0".
  explicit CPUAllocator(std::string device = "cpu:0");

  Result<Block> allocate(const MemoryRequest& request) noexcept override;
  void deallocate(Block block, Stream stream) noexcept override;
  MemoryStats stats() const noexcept override { return counter_.read(); }
  MemoryInfo info() const noexcept override;

 private:
  const std::string device_;
  MemoryCounter counter_;
};

}  // namespace miniinfer
