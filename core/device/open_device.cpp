#include "core/device/open_device.hpp"

#include <cinttypes>
#include <cstring>
#include <utility>

#include "core/base/format.hpp"
#include "core/memory/allocator_factory.hpp"

namespace miniinfer {
namespace {

constexpr std::size_t kMaxIdleStreams = 4;

std::string copy_text(std::uint64_t bytes) { return "copy of " + format_bytes(bytes); }

Status check_range(const OpenDevice& device, const char* what, const Block& block,
                   std::uint64_t bytes) {
  if (bytes <= block.bytes) return {};
  return {Code::InvalidArgument,
          format("%s of %" PRIu64 " bytes on %s goes beyond a block of %" PRIu64, what, bytes,
                 std::string(device.device.id()).c_str(), block.bytes)};
}

Status host_cannot_reach(const OpenDevice& device) {
  return {Code::Internal, std::string(device.device.id()) +
                              " works inline, but the host cannot address its memory"};
}

template <class Table>
const Table* extension(const OpenDevice& device, const char* id) {
  if (device.api->extension == nullptr) return nullptr;
  return static_cast<const Table*>(device.api->extension(device.handle, id));
}

}  // namespace

bool OpenDevice::lost() const { return internals->record->state() == DeviceState::Lost; }

Status OpenDevice::ready() const { return internals->record->ready(); }

Status OpenDevice::check(miniinfer_code code, std::string_view what) const {
  return internals->record->check(code, what);
}

Result<AllocatorPtr> shared_memory(const OpenDevice& device, MemoryKind kind) {
  Result<AllocatorTable::PoolPtr> pool =
      AllocatorTable::instance().pool(device.internals->record->id, kind);
  if (!pool) return pool.status();
  return AllocatorPtr(std::move(*pool));
}

Result<miniinfer_stream*> make_stream(const OpenDevice& device, void* native,
                                      std::string_view what) {
  if (Status status = device.ready(); !status.ok()) return status;
  OpenDevice::Internals& internals = *device.internals;
  miniinfer_stream* stream = nullptr;
  const miniinfer_code code = internals.stream.create(device.handle, 0, native, &stream);
  if (Status status = device.check(code, what); !status.ok()) return status;
  for (const auto& pool : internals.pools) {
    if (Status status = pool->add_stream({stream}); !status.ok()) {
      destroy_stream(device, stream);
      return status;
    }
  }
  return stream;
}

void destroy_stream(const OpenDevice& device, miniinfer_stream* stream) noexcept {
  if (stream == nullptr || device.ready().code() == Code::FailedPrecondition) return;
  OpenDevice::Internals& internals = *device.internals;
  if (device.ready().ok()) static_cast<void>(sync_stream(device, stream, "waiting for a stream"));
  for (const auto& pool : internals.pools) pool->remove_stream({stream});
  internals.stream.destroy(stream);
}

Status sync_stream(const OpenDevice& device, miniinfer_stream* stream, std::string_view what) {
  const OpenDevice::Internals& internals = *device.internals;
  if (Status status = device.check(internals.stream.sync(stream), what); !status.ok()) {
    return status;
  }
  for (const auto& pool : internals.pools) pool->synced({stream});
  return {};
}

Result<std::vector<CaptureId>> begin_captures(const OpenDevice& device, miniinfer_stream* stream) {
  std::vector<CaptureId> captures;
  for (const auto& pool : device.internals->pools) {
    Result<CaptureId> capture = pool->begin_capture({stream});
    if (!capture) {
      release_captures(device, captures);
      return capture.status();
    }
    captures.push_back(*capture);
  }
  return captures;
}

void end_captures(const OpenDevice& device, std::span<const CaptureId> captures) noexcept {
  for (std::size_t i = 0; i < captures.size(); ++i) {
    device.internals->pools[i]->end_capture(captures[i]);
  }
}

void release_captures(const OpenDevice& device, std::span<const CaptureId> captures) noexcept {
  for (std::size_t i = 0; i < captures.size(); ++i) {
    device.internals->pools[i]->release_capture(captures[i]);
  }
}

Result<StreamLease> StreamLease::take(const OpenDevice& device) {
  if (Status status = device.ready(); !status.ok()) return status;
  if (device.is_inline()) return StreamLease(device, nullptr);
  OpenDevice::Internals& internals = *device.internals;
  {
    const std::lock_guard lock(internals.mutex);
    if (!internals.idle_streams.empty()) {
      StreamLease lease(device, internals.idle_streams.back());
      internals.idle_streams.pop_back();
      return lease;
    }
  }
  Result<miniinfer_stream*> stream = make_stream(device, nullptr, "making a stream");
  if (!stream) return stream.status();
  return StreamLease(device, *stream);
}

StreamLease::StreamLease(StreamLease&& other) noexcept
    : device_(other.device_),
      stream_(std::exchange(other.stream_, nullptr)),
      clean_(std::exchange(other.clean_, false)) {}

StreamLease::~StreamLease() {
  if (!stream_) return;
  OpenDevice::Internals& internals = *device_->internals;
  if (clean_) {
    const std::lock_guard lock(internals.mutex);
    if (internals.idle_streams.size() < kMaxIdleStreams) {
      internals.idle_streams.push_back(stream_);
      return;
    }
  }
  destroy_stream(*device_, stream_);
}

Status StreamLease::sync() {
  if (!stream_) return {};
  if (Status status = device_->ready(); !status.ok()) return status;
  Status status = sync_stream(*device_, stream_, "waiting for a stream");
  clean_ = status.ok();
  return status;
}

Status enqueue_copy(const OpenDevice& device, miniinfer_stream* stream,
                    miniinfer_copy_direction direction, const Block& dst, const Block& src,
                    std::uint64_t bytes) {
  if (Status status = device.ready(); !status.ok()) return status;
  if (Status status = check_range(device, "copy", dst, bytes); !status.ok()) return status;
  if (Status status = check_range(device, "copy", src, bytes); !status.ok()) return status;
  if (bytes == 0) return {};
  if (!device.is_inline()) {
    return device.check(device.internals->stream.copy(stream, direction, OpenDevice::mem(dst),
                                                      OpenDevice::mem(src), bytes),
                        copy_text(bytes));
  }
  if (!dst.host || !src.host) return host_cannot_reach(device);
  std::memmove(dst.host, src.host, bytes);
  return {};
}

Status enqueue_fill(const OpenDevice& device, miniinfer_stream* stream, const Block& dst,
                    std::uint64_t bytes, std::uint64_t pattern, std::uint32_t pattern_bytes) {
  if (Status status = device.ready(); !status.ok()) return status;
  if (Status status = check_range(device, "fill", dst, bytes); !status.ok()) return status;
  if ((pattern_bytes != 1 && pattern_bytes != 2 && pattern_bytes != 4 && pattern_bytes != 8) ||
      bytes % pattern_bytes != 0) {
    return {Code::InvalidArgument,
            format("fill of %" PRIu64 " bytes on %s: a pattern of %" PRIu32
                   " bytes is not 1, 2, 4 or 8 bytes long or does not divide them",
                   bytes, std::string(device.device.id()).c_str(), pattern_bytes)};
  }
  if (bytes == 0) return {};
  if (!device.is_inline()) {
    return device.check(
        device.internals->stream.fill(stream, OpenDevice::mem(dst), bytes, pattern, pattern_bytes),
        "fill of " + format_bytes(bytes));
  }
  if (!dst.host) return host_cannot_reach(device);
  // The low end comes first in memory on the little-endian machines there are.
  for (std::uint64_t at = 0; at < bytes; at += pattern_bytes) {
    std::memcpy(dst.host + at, &pattern, pattern_bytes);
  }
  return {};
}

Status copy_now(const OpenDevice& device, miniinfer_copy_direction direction, const Block& dst,
                const Block& src, std::uint64_t bytes) {
  Result<StreamLease> stream = StreamLease::take(device);
  if (!stream) return stream.status();
  Status status = enqueue_copy(device, stream->get(), direction, dst, src, bytes);
  // Also after a failure: nothing may touch the caller's memory once this has returned.
  Status waited = stream->sync();
  return status.ok() ? waited : status;
}

Block host_block(void* data, std::uint64_t bytes) noexcept {
  return {reinterpret_cast<std::uint64_t>(data), 0, bytes, static_cast<std::byte*>(data)};
}

const miniinfer_graph_capture* graph_capture(const OpenDevice& device) {
  const auto* api = extension<miniinfer_graph_capture>(device, MINIINFER_EXT_GRAPH_CAPTURE);
  const bool whole = api != nullptr && MINIINFER_HAS(miniinfer_graph_capture, api, destroy);
  return whole ? api : nullptr;
}

const miniinfer_virtual_memory* virtual_memory(const OpenDevice& device) {
  const auto* api = extension<miniinfer_virtual_memory>(device, MINIINFER_EXT_VIRTUAL_MEMORY);
  const bool whole = api != nullptr && MINIINFER_HAS(miniinfer_virtual_memory, api, set_access);
  return whole ? api : nullptr;
}

const miniinfer_memory_annotate* memory_annotate(const OpenDevice& device) {
  const auto* api = extension<miniinfer_memory_annotate>(device, MINIINFER_EXT_MEMORY_ANNOTATE);
  const bool whole =
      api != nullptr && MINIINFER_HAS(miniinfer_memory_annotate, api, region_unregister);
  return whole ? api : nullptr;
}

const miniinfer_peer_copy* peer_copy(const OpenDevice& target, const OpenDevice& source) {
  if (target.is_inline() || source.is_inline() ||
      target.internals->record->backend != source.internals->record->backend ||
      !target.ready().ok() || !source.ready().ok()) {
    return nullptr;
  }
  const auto* api = extension<miniinfer_peer_copy>(target, MINIINFER_EXT_PEER_COPY);
  const bool whole = api != nullptr && MINIINFER_HAS(miniinfer_peer_copy, api, enqueue);
  return whole && api->can(target.handle, source.handle) != 0 ? api : nullptr;
}

}  // namespace miniinfer
