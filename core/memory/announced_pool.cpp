#include "core/memory/announced_pool.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "core/base/log.hpp"
#include "core/memory/forwarding_pool.hpp"

namespace miniinfer {
namespace {

using Key = std::pair<std::uint64_t, std::uint64_t>;  // handle, offset

// The same memory, in pieces that are heaps and not mapped. [any-thread]
class AnnouncingUpstream final : public MemoryUpstream {
 public:
  AnnouncingUpstream(std::shared_ptr<MemoryUpstream> device, std::string name)
      : device_(std::move(device)), name_(std::move(name)), properties_(device_->properties()) {
    properties_.granularity = 0;
  }

  // The heap that a block lies in; null where nobody listens.
  Heap heap_of(const Block& block) const {
    const std::lock_guard lock(mutex_);
    auto at = heaps_.upper_bound({block.handle, block.offset});
    return at == heaps_.begin() ? Heap{} : std::prev(at)->second;
  }
  MemoryUpstream& device() noexcept { return *device_; }

  const Properties& properties() const noexcept override { return properties_; }
  Status ready() const noexcept override { return device_->ready(); }
  MemoryInfo info() const noexcept override { return device_->info(); }
  Result<Block> allocate_raw(std::uint64_t bytes, std::uint64_t alignment,
                             Stream stream) noexcept override {
    Result<Block> block = device_->allocate_raw(bytes, alignment, stream);
    if (!block) return block;
    const Heap heap = device_->add_heap(*block, name_);
    const std::lock_guard lock(mutex_);
    heaps_[{block->handle, block->offset}] = heap;
    return block;
  }
  void deallocate_raw(const Block& block, Stream stream) noexcept override {
    Heap heap;
    {
      const std::lock_guard lock(mutex_);
      const auto found = heaps_.extract({block.handle, block.offset});
      if (!found.empty()) heap = found.mapped();
    }
    if (heap.handle != nullptr) device_->remove_heap(heap);
    device_->deallocate_raw(block, stream);
  }
  Result<Event> create_event() noexcept override { return device_->create_event(); }
  void destroy_event(Event event) noexcept override { device_->destroy_event(event); }
  Status record(Event event, Stream stream) noexcept override {
    return device_->record(event, stream);
  }
  Status wait(Event event, Stream stream) noexcept override { return device_->wait(event, stream); }
  Result<bool> done(Event event) noexcept override { return device_->done(event); }
  Status sync(Event event) noexcept override { return device_->sync(event); }

 private:
  const std::shared_ptr<MemoryUpstream> device_;
  const std::string name_;
  Properties properties_;
  mutable std::mutex mutex_;
  std::map<Key, Heap> heaps_;
};

class AnnouncedPool final : public ForwardingPool {
 public:
  AnnouncedPool(std::shared_ptr<AnnouncingUpstream> upstream, std::shared_ptr<PoolAllocator> pool)
      : ForwardingPool(*pool), upstream_(std::move(upstream)), owned_(std::move(pool)) {}

  Result<Block> allocate(const MemoryRequest& request) noexcept override {
    Result<Block> block = pool_.allocate(request);
    if (!block || block->handle == 0) return block;
    const MemoryUpstream::Heap heap = upstream_->heap_of(*block);
    if (heap.handle != nullptr) {
      upstream_->device().add_region(heap, *block, std::string(request.tag));
    }
    const std::lock_guard lock(mutex_);
    regions_[{block->handle, block->offset}] = {heap, block->token, {}, false};
    return block;
  }

  void deallocate(Block block, Stream stream) noexcept override {
    Region region;
    {
      const std::lock_guard lock(mutex_);
      const auto found = regions_.find({block.handle, block.offset});
      if (found == regions_.end() || found->second.token != block.token) {
        return pool_.deallocate(block, stream);  // which says what is wrong with it
      }
      if (found->second.kept) {
        return log(MINIINFER_LOG_ERROR, "memory", "a block is not taken back a second time");
      }
      for (auto& [id, capture] : captures_) {
        if (!capture.recording || capture.stream.handle != stream.handle) continue;
        found->second.kept = true;
        capture.kept.push_back(block);
        return;
      }
      region = std::move(regions_.extract(found).mapped());
    }
    finish(stream);
    for (const Stream user : region.users) finish(user);
    if (region.heap.handle != nullptr) upstream_->device().remove_region(region.heap, block);
    pool_.deallocate(block, stream);
  }

  void record_use(const Block& block, Stream stream) noexcept override {
    {
      const std::lock_guard lock(mutex_);
      const auto found = regions_.find({block.handle, block.offset});
      if (found != regions_.end() && found->second.token == block.token) {
        found->second.users.push_back(stream);
      }
    }
    pool_.record_use(block, stream);
  }

  void remove_stream(Stream stream) noexcept override {
    {
      const std::lock_guard lock(mutex_);
      const auto is_it = [&](Stream other) { return other.handle == stream.handle; };
      for (auto& [key, region] : regions_) std::erase_if(region.users, is_it);
      for (auto& [id, capture] : captures_) {
        if (is_it(capture.stream)) capture.stream = {};
      }
    }
    pool_.remove_stream(stream);
  }

  Result<CaptureId> begin_capture(Stream stream) noexcept override {
    Result<CaptureId> capture = pool_.begin_capture(stream);
    if (!capture) return capture;
    const std::lock_guard lock(mutex_);
    captures_[*capture] = {stream, true, {}};
    return capture;
  }
  void end_capture(CaptureId capture) noexcept override {
    pool_.end_capture(capture);
    const std::lock_guard lock(mutex_);
    if (const auto found = captures_.find(capture); found != captures_.end()) {
      found->second.recording = false;
    }
  }
  void release_capture(CaptureId capture) noexcept override {
    pool_.release_capture(capture);
    Capture released;
    {
      const std::lock_guard lock(mutex_);
      const auto found = captures_.find(capture);
      if (found == captures_.end()) return;
      released = std::move(captures_.extract(found).mapped());
      for (const Block& block : released.kept) {
        regions_[{block.handle, block.offset}].kept = false;
      }
    }
    for (const Block& block : released.kept) deallocate(block, released.stream);
  }

 private:
  struct Region {
    MemoryUpstream::Heap heap;
    std::uint64_t token = 0;
    std::vector<Stream> users;  // beside who asked for it
    bool kept = false;          // given back, and a graph's
  };
  struct Capture {
    Stream stream;
    bool recording = false;
    std::vector<Block> kept;
  };

  void finish(Stream stream) noexcept {
    if (stream.handle == nullptr || !upstream_->properties().ordered) return;
    const Result<MemoryUpstream::Event> event = upstream_->create_event();
    if (!event) return;
    if (upstream_->record(*event, stream).ok()) static_cast<void>(upstream_->sync(*event));
    upstream_->destroy_event(*event);
  }

  const std::shared_ptr<AnnouncingUpstream> upstream_;
  const std::shared_ptr<PoolAllocator> owned_;
  std::mutex mutex_;
  std::map<Key, Region> regions_;
  std::map<CaptureId, Capture> captures_;
};

}  // namespace

std::shared_ptr<PoolAllocator> make_announced_pool(std::shared_ptr<MemoryUpstream> upstream,
                                                   std::string device, PoolOptions options,
                                                   std::shared_ptr<Budget> budget) {
  if (!options.annotate || !upstream->listens()) {
    return make_pool(std::move(upstream), std::move(device), options, std::move(budget));
  }
  options.thread_cache_bytes = 0;
  auto announcing = std::make_shared<AnnouncingUpstream>(std::move(upstream), device);
  auto pool = make_pool(announcing, std::move(device), options, std::move(budget));
  return std::make_shared<AnnouncedPool>(std::move(announcing), std::move(pool));
}

}  // namespace miniinfer
