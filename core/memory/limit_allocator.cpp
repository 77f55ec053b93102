#include <algorithm>

#include "core/base/format.hpp"
#include "core/memory/budget.hpp"
#include "core/memory/memory_counter.hpp"
#include "miniinfer/memory_snapshot.hpp"

namespace miniinfer {
namespace {

class LimitAllocator final : public Allocator {
 public:
  LimitAllocator(AllocatorPtr upstream, std::uint64_t limit, std::string_view name)
      : upstream_(std::move(upstream)), budget_(std::string(name), limit) {}

  Result<Block> allocate(const MemoryRequest& request) noexcept override {
    if (budget_.take(request.bytes) != nullptr) {
      counter_.fail();
      return refuse(request);
    }
    Result<Block> block = upstream_->allocate(request);
    if (!block) {
      budget_.give(request.bytes);
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
    budget_.give(bytes);
  }

  MemoryStats stats() const noexcept override { return counter_.read(); }
  PoolAllocator* pool() noexcept override { return upstream_->pool(); }
  TrackingAllocator* tracker() noexcept override { return upstream_->tracker(); }
  MemorySnapshot snapshot() const override {
    MemorySnapshot snapshot = upstream_->snapshot();
    snapshot.stats = stats();
    return snapshot;
  }

  MemoryInfo info() const noexcept override {
    MemoryInfo info = upstream_->info();
    const std::uint64_t limit = budget_.limit();
    const std::uint64_t allowed = limit - budget_.used();
    if (info.total_bytes == 0) return {allowed, limit};
    info.free_bytes = std::min(info.free_bytes, allowed);
    info.total_bytes = std::min(info.total_bytes, limit);
    return info;
  }

 private:
  Status refuse(const MemoryRequest& request) const {
    MemoryReport report;
    report.device = report.limit = budget_.name();
    report.tag = request.tag;
    report.asked_bytes = request.bytes;
    report.limit_bytes = budget_.limit();
    report.limit_used_bytes = budget_.used();
    return Status(Code::LimitExceeded,
                  "allocation of " + format_bytes(request.bytes) +
                      (request.tag.empty() ? std::string() : " for " + std::string(request.tag)) +
                      " on " + budget_.name() + " refused, " +
                      format_bytes(report.limit_used_bytes) + " of the " +
                      format_bytes(report.limit_bytes) + " allowed in use",
                  "raise the memory limit or use a smaller batch")
        .with_memory_report(std::make_shared<const MemoryReport>(std::move(report)));
  }

  const AllocatorPtr upstream_;
  Budget budget_;
  MemoryCounter counter_;
};

}  // namespace

AllocatorPtr limit_allocator(AllocatorPtr upstream, std::uint64_t limit_bytes,
                             std::string_view name) {
  return std::make_shared<LimitAllocator>(std::move(upstream), limit_bytes, name);
}

}  // namespace miniinfer
