#pragma once

#include <memory>

#include "core/memory/upstream.hpp"

namespace miniinfer {

// Any allocator as what a pool is built on: of the host's memory, of the user's own, or one that
// wraps another. Blocks come from the allocator, order comes from the device. [any-thread]
class AllocatorUpstream final : public MemoryUpstream {
 public:
  // `device` tells of streams and addresses; null: memory of the host, whose work is done when a
  // call returns.
  AllocatorUpstream(AllocatorPtr allocator, MemoryKind kind,
                    std::shared_ptr<MemoryUpstream> device);

  const Properties& properties() const noexcept override { return properties_; }
  Status ready() const noexcept override { return device_ ? device_->ready() : Status(); }
  Result<Block> allocate_raw(std::uint64_t bytes, std::uint64_t alignment,
                             Stream stream) noexcept override;
  void deallocate_raw(const Block& block, Stream stream) noexcept override;
  MemoryInfo info() const noexcept override { return allocator_->info(); }

  bool listens() const noexcept override { return device_ && device_->listens(); }
  Heap add_heap(const Block& block, const std::string& name) noexcept override {
    return device_->add_heap(block, name);
  }
  void remove_heap(Heap heap) noexcept override { device_->remove_heap(heap); }
  void add_region(Heap heap, const Block& part, const std::string& name) noexcept override {
    device_->add_region(heap, part, name);
  }
  void remove_region(Heap heap, const Block& part) noexcept override {
    device_->remove_region(heap, part);
  }

  Result<Event> create_event() noexcept override;
  void destroy_event(Event event) noexcept override;
  Status record(Event event, Stream stream) noexcept override;
  Status wait(Event event, Stream stream) noexcept override;
  Result<bool> done(Event event) noexcept override;
  Status sync(Event event) noexcept override;

 private:
  const AllocatorPtr allocator_;
  const std::shared_ptr<MemoryUpstream> device_;
  const Properties properties_;
};

}  // namespace miniinfer
