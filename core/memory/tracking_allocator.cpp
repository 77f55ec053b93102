#include "core/memory/memory_counter.hpp"

namespace miniinfer {
namespace {

class TrackingAllocator final : public Allocator {
 public:
  explicit TrackingAllocator(AllocatorPtr upstream) : upstream_(std::move(upstream)) {}

  Result<Block> allocate(const MemoryRequest& request) noexcept override {
    Result<Block> block = upstream_->allocate(request);
    if (!block) {
      counter_.fail();
    } else if (block->handle != 0) {
      counter_.add(block->bytes);
    }
    return block;
  }

  void deallocate(Block block, Stream stream) noexcept override {
    if (block.handle == 0) return;
    counter_.subtract(block.bytes);
    upstream_->deallocate(block, stream);
  }

  MemoryStats stats() const noexcept override { return counter_.read(); }
  PoolAllocator* pool() noexcept override { return upstream_->pool(); }
  MemoryInfo info() const noexcept override { return upstream_->info(); }

 private:
  const AllocatorPtr upstream_;
  MemoryCounter counter_;
};

}  // namespace

AllocatorPtr tracking_allocator(AllocatorPtr upstream) {
  return std::make_shared<TrackingAllocator>(std::move(upstream));
}

}  // namespace miniinfer
