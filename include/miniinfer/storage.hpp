#pragma once

#include "miniinfer/allocator.hpp"

namespace miniinfer {

// Owns one block, and keeps the allocator that gave it alive. Never fills memory unless asked, and
// never touches memory it failed to get. Move-only. [any-thread] for reads.
class MINIINFER_API Storage {
 public:
  Storage() noexcept = default;
  Storage(Storage&& other) noexcept;
  Storage& operator=(Storage&& other) noexcept;
  ~Storage();

  static Result<Storage> create(AllocatorPtr allocator, const MemoryRequest& request);

  // Null where the host cannot address the memory.
  std::byte* host() noexcept { return block_.host; }
  const std::byte* host() const noexcept { return block_.host; }
  std::uint64_t bytes() const noexcept { return block_.bytes; }
  const Block& block() const noexcept { return block_; }
  const AllocatorPtr& allocator() const noexcept { return allocator_; }

  // Gives the memory back now; `stream` is the one whose work used it last.
  void reset(Stream stream = {}) noexcept;

 private:
  AllocatorPtr allocator_;
  Block block_;
  Stream stream_;
};

}  // namespace miniinfer
