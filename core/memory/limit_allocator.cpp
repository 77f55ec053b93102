#include <algorithm>
#include <atomic>

#include "core/base/format.hpp"
#include "core/memory/memory_counter.hpp"

namespace miniinfer {
namespace {

class LimitAllocator final : public Allocator {
 public:
  LimitAllocator(AllocatorPtr upstream, std::uint64_t limit, std::string_view name)
      : upstream_(std::move(upstream)), limit_(limit), name_(name) {}

  Result<Block> allocate(const MemoryRequest& request) noexcept override {
    if (!reserve(request.bytes)) {
      counter_.fail();
      return Status(Code::LimitExceeded,
                    "allocation of " + format_bytes(request.bytes) +
                        (request.tag.empty() ? std::string() : " for " + std::string(request.tag)) +
                        " on " + name_ + " refused, " +
                        format_bytes(used_.load(std::memory_order_relaxed)) + " of the " +
                        format_bytes(limit_) + " allowed in use",
                    "raise the memory limit or use a smaller batch");
    }
    Result<Block> block = upstream_->allocate(request);
    if (!block) {
      used_.fetch_sub(request.bytes, std::memory_order_relaxed);
      counter_.fail();
    } else if (block->handle != 0) {
      counter_.add(block->bytes);
    }
    return block;
  }

  void deallocate(Block block, Stream stream) noexcept override {
    if (block.handle == 0) return;
    counter_.subtract(block.bytes);
    const std::uint64_t bytes = block.bytes;
    upstream_->deallocate(block, stream);
    used_.fetch_sub(bytes, std::memory_order_relaxed);
  }

  MemoryStats stats() const noexcept override { return counter_.read(); }
  PoolAllocator* pool() noexcept override { return upstream_->pool(); }

  MemoryInfo info() const noexcept override {
    MemoryInfo info = upstream_->info();
    const std::uint64_t allowed = limit_ - used_.load(std::memory_order_relaxed);
    if (info.total_bytes == 0) return {allowed, limit_};
    info.free_bytes = std::min(info.free_bytes, allowed);
    info.total_bytes = std::min(info.total_bytes, limit_);
    return info;
  }

 private:
  // Takes what fits and nothing else: adding first and looking after would let a request that is
  // refused push out another that fits.
  bool reserve(std::uint64_t bytes) noexcept {
    std::uint64_t used = used_.load(std::memory_order_relaxed);
    do {
      if (bytes > limit_ - used) return false;
    } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return true;
  }

  const AllocatorPtr upstream_;
  const std::uint64_t limit_;
  const std::string name_;
  std::atomic<std::uint64_t> used_{0};  // never more than limit_
  MemoryCounter counter_;
};

}  // namespace

AllocatorPtr limit_allocator(AllocatorPtr upstream, std::uint64_t limit_bytes,
                             std::string_view name) {
  return std::make_shared<LimitAllocator>(std::move(upstream), limit_bytes, name);
}

}  // namespace miniinfer
