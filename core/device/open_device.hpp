#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "core/device/backend_registry.hpp"
#include "core/device/plugin_allocator.hpp"
#include "miniinfer/abi/device.h"
#include "miniinfer/abi/ext/draft/graph_capture.h"
#include "miniinfer/abi/ext/draft/memory_annotate.h"
#include "miniinfer/abi/ext/draft/peer_copy.h"
#include "miniinfer/abi/ext/draft/virtual_memory.h"
#include "miniinfer/pool_allocator.hpp"

namespace miniinfer {

// What the device layer keeps beside an open device. The tables are whole copies: a slot the plugin
// does not have is null.
struct OpenDevice::Internals {
  DeviceRecord* record = nullptr;
  miniinfer_device_api api{};
  miniinfer_stream_api stream{};
  miniinfer_op_api op{};
  std::shared_ptr<PluginUpstream> upstream;  // of device memory; null where the device has none
  std::vector<std::shared_ptr<PoolAllocator>>
      pools;  // the shared ones, by kind; device memory first

  std::mutex mutex;
  std::vector<miniinfer_stream*> idle_streams;
};

// The pool of one kind of the device's memory, which everybody shares. NOT_FOUND where it has none.
Result<AllocatorPtr> shared_memory(const OpenDevice& device, MemoryKind kind);

// A stream that the device's pools know: memory may be asked for and given back in its name. A
// `native` one of the vendor's own is wrapped. `what` is for the message of a failure.
Result<miniinfer_stream*> make_stream(const OpenDevice& device, void* native,
                                      std::string_view what);
// Waits for its work, as far as the device still answers. Does nothing for null, and in a process
// forked after the device was opened: streams of the parent are not ours.
void destroy_stream(const OpenDevice& device, miniinfer_stream* stream) noexcept;
// Waits for the stream's work and tells the pools.
Status sync_stream(const OpenDevice& device, miniinfer_stream* stream, std::string_view what);

// Tells the pools that the stream is being recorded, and gives what their captures are known by.
Result<std::vector<CaptureId>> begin_captures(const OpenDevice& device, miniinfer_stream* stream);
void end_captures(const OpenDevice& device, std::span<const CaptureId> captures) noexcept;
// What was recorded is not replayed any more.
void release_captures(const OpenDevice& device, std::span<const CaptureId> captures) noexcept;

// A stream for a few calls, taken from those that are idle or made. On an inline device it is null
// and needs nothing. The holder keeps the device open.
class StreamLease {
 public:
  static Result<StreamLease> take(const OpenDevice& device);
  StreamLease(StreamLease&& other) noexcept;
  StreamLease& operator=(StreamLease&&) = delete;
  ~StreamLease();

  miniinfer_stream* get() const noexcept { return stream_; }
  // Waits for the stream's work. A stream whose work failed is not used again.
  Status sync();

 private:
  StreamLease(const OpenDevice& device, miniinfer_stream* stream)
      : device_(&device), stream_(stream) {}

  const OpenDevice* device_;
  miniinfer_stream* stream_;
  bool clean_ = false;  // nothing is queued, nothing failed
};

// Puts a copy of the first `bytes` bytes on the stream; on an inline device it is done when this
// returns. Host memory is a Block with its address as handle and host. INVALID_ARGUMENT beyond the
// end of a block.
Status enqueue_copy(const OpenDevice& device, miniinfer_stream* stream,
                    miniinfer_copy_direction direction, const Block& dst, const Block& src,
                    std::uint64_t bytes);
// The same for a fill with a pattern of 1, 2, 4 or 8 bytes.
Status enqueue_fill(const OpenDevice& device, miniinfer_stream* stream, const Block& dst,
                    std::uint64_t bytes, std::uint64_t pattern, std::uint32_t pattern_bytes);

// A copy between the host and the device, or on it, that is done when this returns.
Status copy_now(const OpenDevice& device, miniinfer_copy_direction direction, const Block& dst,
                const Block& src, std::uint64_t bytes);

Block host_block(void* data, std::uint64_t bytes) noexcept;

// The device's table for recording work, or null where it has none.
const miniinfer_graph_capture* graph_capture(const OpenDevice& device);
// The device's table for mapping memory, or null where it keeps addresses and memory together.
const miniinfer_virtual_memory* virtual_memory(const OpenDevice& device);
// The device's table for announcing what memory is in use, or null where it does not listen.
const miniinfer_memory_annotate* memory_annotate(const OpenDevice& device);

// The table for copies from one device's memory to another's, or null where only the host's memory
// is between them: where they are of two backends, or theirs has no such thing.
const miniinfer_peer_copy* peer_copy(const OpenDevice& target, const OpenDevice& source);

}  // namespace miniinfer
