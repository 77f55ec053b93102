#pragma once

#include <memory>
#include <string>

#include "core/device/device_record.hpp"
#include "core/memory/memory_counter.hpp"
#include "core/memory/upstream.hpp"
#include "miniinfer/abi/ext/draft/memory_annotate.h"
#include "miniinfer/abi/ext/draft/virtual_memory.h"
#include "miniinfer/abi/memory.h"
#include "miniinfer/abi/stream.h"

namespace miniinfer {

// One kind of raw memory of an open device, by the plugin's table. What the plugin returns is
// checked. Calls nothing on a lost device, nor in a forked child: blocks are then forgotten, and
// the driver's own clean-up has them.
class PluginUpstream final : public MemoryUpstream {
 public:
  // `table` is whole (whole_table); `streams` is null for a device that works inline, `mapping` for
  // memory that cannot be mapped, `annotate` where nobody listens.
  PluginUpstream(DeviceRecord& record, const miniinfer_allocator& table, std::uint32_t device_flags,
                 miniinfer_device* device, const miniinfer_stream_api* streams,
                 const miniinfer_virtual_memory* mapping,
                 const miniinfer_memory_annotate* annotate = nullptr);

  DeviceRecord& record() const noexcept { return record_; }
  const Properties& properties() const noexcept override { return properties_; }
  Status ready() const noexcept override { return record_.ready(); }
  Result<Block> allocate_raw(std::uint64_t bytes, std::uint64_t alignment,
                             Stream stream) noexcept override;
  void deallocate_raw(const Block& block, Stream stream) noexcept override;
  MemoryInfo info() const noexcept override;

  // Names memory of the application: `native` is the device's own pointer or object. UNSUPPORTED
  // where the device has no way to.
  Result<Block> import_native(void* native, std::uint64_t bytes) noexcept;
  void release_native(const Block& block) noexcept;

  Result<Block> reserve_addresses(std::uint64_t bytes) noexcept override;
  void release_addresses(const Block& addresses) noexcept override;
  Result<Physical> create_physical(std::uint64_t bytes) noexcept override;
  void destroy_physical(Physical physical) noexcept override;
  Status map(const Block& addresses, std::uint64_t offset, Physical physical,
             std::uint64_t bytes) noexcept override;
  Status set_access(const Block& addresses, std::uint64_t offset,
                    std::uint64_t bytes) noexcept override;
  Status unmap(const Block& addresses, std::uint64_t offset, std::uint64_t bytes) noexcept override;

  bool listens() const noexcept override { return annotate_ != nullptr; }
  Heap add_heap(const Block& block, const std::string& name) noexcept override;
  void remove_heap(Heap heap) noexcept override;
  void add_region(Heap heap, const Block& part, const std::string& name) noexcept override;
  void remove_region(Heap heap, const Block& part) noexcept override;

  Result<Event> create_event() noexcept override;
  void destroy_event(Event event) noexcept override;
  Status record(Event event, Stream stream) noexcept override;
  Status wait(Event event, Stream stream) noexcept override;
  Result<bool> done(Event event) noexcept override;
  Status sync(Event event) noexcept override;

 private:
  Status check_block(const Block& block, std::uint64_t alignment) const;
  Status events_ready() const;
  // The plugin may be called, also on a lost device, and [offset, offset + bytes) lies in the range
  // in whole granules.
  Status check_mapping(const char* call, const Block& addresses, std::uint64_t offset,
                       std::uint64_t bytes) const;
  Status not_allocated(miniinfer_code code, std::uint64_t bytes) const;

  DeviceRecord& record_;
  const miniinfer_allocator table_;
  const Properties properties_;
  miniinfer_device* const device_;
  const miniinfer_stream_api* const streams_;
  const miniinfer_virtual_memory* const mapping_;
  const miniinfer_memory_annotate* const annotate_;
};

// The same as an Allocator, with statistics.
class PluginAllocator final : public Allocator {
 public:
  explicit PluginAllocator(std::shared_ptr<PluginUpstream> upstream)
      : upstream_(std::move(upstream)) {}

  Result<Block> allocate(const MemoryRequest& request) noexcept override;
  void deallocate(Block block, Stream stream) noexcept override;
  MemoryStats stats() const noexcept override { return counter_.read(); }
  MemoryInfo info() const noexcept override { return upstream_->info(); }
  MemorySnapshot snapshot() const override;

 private:
  const std::shared_ptr<PluginUpstream> upstream_;
  MemoryCounter counter_;
};

}  // namespace miniinfer
