#include "core/memory/fault_allocator.hpp"

#include <cinttypes>

#include "core/base/format.hpp"

namespace miniinfer {

void FaultAllocator::fail_at(std::uint64_t nth, Mode mode) noexcept {
  mode_.store(mode, std::memory_order_relaxed);
  requests_.store(0, std::memory_order_relaxed);
  fail_at_.store(nth, std::memory_order_relaxed);
}

Result<Block> FaultAllocator::allocate(const MemoryRequest& request) noexcept {
  const std::uint64_t nth = requests_.fetch_add(1, std::memory_order_relaxed) + 1;
  const std::uint64_t fail = fail_at_.load(std::memory_order_relaxed);
  const bool after = mode_.load(std::memory_order_relaxed) == Mode::FromThenOn;
  if (fail != 0 && (nth == fail || (after && nth > fail))) {
    counter_.fail();
    return Status(Code::OutOfMemory, format("request %" PRIu64 ", of %s, was made to fail", nth,
                                            format_bytes(request.bytes).c_str()));
  }
  Result<Block> block = upstream_->allocate(request);
  if (!block) {
    counter_.fail();
  } else if (block->handle != 0) {
    counter_.add(block->bytes);
  }
  return block;
}

void FaultAllocator::deallocate(Block block, Stream stream) noexcept {
  if (block.handle == 0) return;
  counter_.subtract(block.bytes);
  upstream_->deallocate(block, stream);
}

}  // namespace miniinfer
