#include "core/device/plugin_allocator.hpp"

#include <algorithm>
#include <cinttypes>
#include <limits>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"
#include "core/memory/request.hpp"
#include "miniinfer/memory_snapshot.hpp"

namespace miniinfer {
namespace {

constexpr std::uint64_t kMaxBytes = std::numeric_limits<std::int64_t>::max();

miniinfer_stream* raw(Stream stream) { return static_cast<miniinfer_stream*>(stream.handle); }
miniinfer_event* raw(MemoryUpstream::Event event) {
  return static_cast<miniinfer_event*>(event.handle);
}

std::uint64_t granularity(miniinfer_device* device, const miniinfer_virtual_memory* mapping) {
  const std::uint64_t bytes = mapping != nullptr ? mapping->granularity(device) : 0;
  return is_power_of_two(bytes) ? bytes : 0;
}

}  // namespace

PluginUpstream::PluginUpstream(DeviceRecord& record, const miniinfer_allocator& table,
                               std::uint32_t device_flags, miniinfer_device* device,
                               const miniinfer_stream_api* streams,
                               const miniinfer_virtual_memory* mapping,
                               const miniinfer_memory_annotate* annotate)
    : record_(record),
      table_(table),
      properties_{static_cast<MemoryKind>(table.kind),
                  table.min_alignment,
                  table.max_bytes,
                  (device_flags & MINIINFER_DEVICE_FLAT_ADDRESS) != 0 ||
                      table.kind != MINIINFER_MEMORY_DEVICE,
                  streams != nullptr,
                  granularity(device, mapping)},
      device_(device),
      streams_(streams),
      mapping_(mapping),
      annotate_(annotate) {}

Status PluginUpstream::check_block(const Block& block, std::uint64_t alignment) const {
  const auto wrong = [&](const char* what) {
    return Status(Code::Internal,
                  format("the plugin of %s returned a block %s (handle 0x%" PRIx64
                         ", offset %" PRIu64 ", alignment %" PRIu64 ")",
                         record_.id.c_str(), what, block.handle, block.offset, alignment),
                  "report a bug to the plugin's vendor");
  };
  if (block.handle == 0) return wrong("without memory");
  std::uint64_t place = block.offset;
  std::uint64_t end = 0;
  if ((properties_.flat_address && !checked_add(block.handle, block.offset, &place)) ||
      !checked_add(place, block.bytes, &end)) {
    return wrong("beyond the end of the address space");
  }
  if ((place & (alignment - 1)) != 0) return wrong("that is not aligned");
  return {};
}

Status PluginUpstream::not_allocated(miniinfer_code code, std::uint64_t bytes) const {
  if (code != MINIINFER_OUT_OF_MEMORY) {
    return record_.check(code, "allocation of " + format_bytes(bytes));
  }
  const std::string text = take_error_text();
  const Status status = out_of_memory(MemoryRequest{.bytes = bytes}, record_.id, info());
  if (text.empty()) return status;
  return Status(status.code(), std::string(status.message()) + " (" + printable(text, 512) + ")",
                std::string(status.hint()))
      .with_memory_report(status.memory_report());
}

Result<Block> PluginUpstream::allocate_raw(std::uint64_t bytes, std::uint64_t alignment,
                                           Stream stream) noexcept {
  if (Status status = record_.ready(); !status.ok()) return status;
  alignment = std::max(alignment, properties_.min_alignment);
  miniinfer_mem mem{0, 0};
  const miniinfer_code code = table_.alloc(table_.self, bytes, alignment, raw(stream), &mem);
  if (code != MINIINFER_OK) return not_allocated(code, bytes);
  Block block{mem.handle, mem.offset, bytes, nullptr};
  if (mem.handle != 0 && table_.host_pointer) {
    block.host = static_cast<std::byte*>(table_.host_pointer(table_.self, mem));
  }
  if (Status status = check_block(block, alignment); !status.ok()) {
    if (block.handle != 0) deallocate_raw(block, stream);
    return status;
  }
  return block;
}

void PluginUpstream::deallocate_raw(const Block& block, Stream stream) noexcept {
  // Allowed on a lost device, where no stream runs any more; not in a forked child.
  const Code state = record_.ready().code();
  if (state == Code::FailedPrecondition) return;
  table_.free(table_.self, {block.handle, block.offset}, block.bytes,
              state == Code::Ok ? raw(stream) : nullptr);
}

MemoryInfo PluginUpstream::info() const noexcept {
  MemoryInfo info;
  if (!table_.info || !record_.ready().ok()) return info;
  const miniinfer_code code = table_.info(table_.self, &info.free_bytes, &info.total_bytes);
  if (!record_.check(code, "reading the free memory").ok()) return {};
  return info;
}

Result<Block> PluginUpstream::import_native(void* native, std::uint64_t bytes) noexcept {
  if (Status status = record_.ready(); !status.ok()) return status;
  Block block{reinterpret_cast<std::uint64_t>(native), 0, bytes, nullptr};
  if (!table_.import_native) {
    if (properties_.flat_address) return block;
    return Status(Code::Unsupported, record_.id + " cannot use memory of the application");
  }
  miniinfer_mem mem{0, 0};
  const miniinfer_code code = table_.import_native(table_.self, native, bytes, &mem);
  if (Status status = record_.check(code, "import of " + format_bytes(bytes)); !status.ok()) {
    return status;
  }
  block.handle = mem.handle;
  block.offset = mem.offset;
  if (Status status = check_block(block, 1); !status.ok()) return status;
  if (table_.host_pointer) {
    block.host = static_cast<std::byte*>(table_.host_pointer(table_.self, mem));
  }
  return block;
}

void PluginUpstream::release_native(const Block& block) noexcept {
  if (!table_.import_native || !table_.release_native ||
      record_.ready().code() == Code::FailedPrecondition) {
    return;
  }
  table_.release_native(table_.self, {block.handle, block.offset});
}

MemoryUpstream::Heap PluginUpstream::add_heap(const Block& block,
                                              const std::string& name) noexcept {
  if (annotate_ == nullptr || !record_.ready().ok()) return {};
  return {
      annotate_->heap_register(device_, {block.handle, block.offset}, block.bytes, name.c_str())};
}

void PluginUpstream::remove_heap(Heap heap) noexcept {
  if (record_.ready().code() == Code::FailedPrecondition) return;
  annotate_->heap_unregister(device_, static_cast<miniinfer_heap*>(heap.handle));
}

void PluginUpstream::add_region(Heap heap, const Block& part, const std::string& name) noexcept {
  if (!record_.ready().ok()) return;
  auto* const in = static_cast<miniinfer_heap*>(heap.handle);
  const miniinfer_mem mem{part.handle, part.offset};
  annotate_->region_register(device_, in, mem, part.bytes);
  if (!name.empty()) annotate_->region_name(device_, in, mem, name.c_str());
}

void PluginUpstream::remove_region(Heap heap, const Block& part) noexcept {
  if (record_.ready().code() == Code::FailedPrecondition) return;
  annotate_->region_unregister(device_, static_cast<miniinfer_heap*>(heap.handle),
                               {part.handle, part.offset});
}

Status PluginUpstream::events_ready() const {
  if (!streams_) {
    return {Code::FailedPrecondition, record_.id + " works inline and has no events"};
  }
  return record_.ready();
}

Result<MemoryUpstream::Event> PluginUpstream::create_event() noexcept {
  if (Status status = events_ready(); !status.ok()) return status;
  miniinfer_event* event = nullptr;
  const miniinfer_code code = streams_->event_create(device_, &event);
  if (Status status = record_.check(code, "making an event"); !status.ok()) return status;
  return Event{event};
}

void PluginUpstream::destroy_event(Event event) noexcept {
  // Allowed on a lost device, not in a forked child.
  if (!streams_ || !event.handle || record_.ready().code() == Code::FailedPrecondition) return;
  streams_->event_destroy(raw(event));
}

Status PluginUpstream::record(Event event, Stream stream) noexcept {
  if (Status status = events_ready(); !status.ok()) return status;
  return record_.check(streams_->event_record(raw(event), raw(stream)), "recording an event");
}

Status PluginUpstream::wait(Event event, Stream stream) noexcept {
  if (Status status = events_ready(); !status.ok()) return status;
  return record_.check(streams_->event_wait(raw(event), raw(stream)), "waiting for an event");
}

Result<bool> PluginUpstream::done(Event event) noexcept {
  if (Status status = events_ready(); !status.ok()) return status;
  std::uint32_t done = 0;
  const miniinfer_code code = streams_->event_query(raw(event), &done);
  if (Status status = record_.check(code, "asking for an event"); !status.ok()) return status;
  return done != 0;
}

Status PluginUpstream::sync(Event event) noexcept {
  if (Status status = events_ready(); !status.ok()) return status;
  return record_.check(streams_->event_sync(raw(event)), "waiting for an event");
}

Result<Block> PluginAllocator::allocate(const MemoryRequest& request) noexcept {
  const std::string& id = upstream_->record().id;
  const MemoryUpstream::Properties& properties = upstream_->properties();
  Status status = check_request(request, id, {properties.kind});
  if (status.ok() && request.bytes == 0) return Block{};
  if (status.ok() && properties.max_bytes != 0 && request.bytes > properties.max_bytes) {
    status = {Code::OutOfMemory,
              format("allocation of %s on %s failed, a single block has %s at most",
                     format_bytes(request.bytes).c_str(), id.c_str(),
                     format_bytes(properties.max_bytes).c_str())};
    if (!request.tag.empty()) status = status.with_context(request.tag);
  }
  // No driver needs to see a size that cannot be: some wrap around when they round it up.
  if (status.ok() && (request.bytes > kMaxBytes || request.alignment > kMaxBytes)) {
    status = out_of_memory(request, id, info());
  }
  if (status.ok()) {
    Result<Block> block = upstream_->allocate_raw(request.bytes, request.alignment, request.stream);
    if (block) {
      counter_.add(block->bytes);
      return block;
    }
    status = block.status();
    if (!request.tag.empty()) status = status.with_context(request.tag);
  }
  counter_.fail();
  return status;
}

void PluginAllocator::deallocate(Block block, Stream stream) noexcept {
  if (block.handle == 0) return;
  counter_.subtract(block.bytes);
  upstream_->deallocate_raw(block, stream);
}

MemorySnapshot PluginAllocator::snapshot() const {
  MemorySnapshot snapshot;
  snapshot.device = upstream_->record().id;
  snapshot.flat_address = upstream_->properties().flat_address;
  snapshot.memory = info();
  snapshot.stats = stats();
  return snapshot;
}

}  // namespace miniinfer
