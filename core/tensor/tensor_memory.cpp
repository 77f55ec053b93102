#include <algorithm>
#include <cstring>
#include <string>

#include "core/base/log.hpp"
#include "core/device/open_device.hpp"
#include "core/tensor/tensor_impl.hpp"

namespace miniinfer {
namespace {

// Large enough for the bus to reach its speed, small enough not to matter beside the tensors.
constexpr std::uint64_t kStagingBytes = std::uint64_t{8} << 20;

Block part(const Block& block, std::uint64_t at, std::uint64_t bytes) {
  return {block.handle, block.offset + at, bytes, block.host ? block.host + at : nullptr};
}

// Whether plain loads and stores reach the memory. Work of tensors is done, so they see its result.
bool host_reaches(const TensorMemory& memory) {
  return !memory.device || (memory.block.host && memory.device->host_visible());
}

Block as_host(const TensorMemory& memory, std::uint64_t bytes) {
  return host_block(memory.block.host, bytes);
}

}  // namespace

TensorMemory::~TensorMemory() {
  if (imported.bytes > 0) device->internals->upstream->release_native(imported);
  if (!release) return;
  try {
    release();
  } catch (...) {
    log(MINIINFER_LOG_ERROR, "tensor", "the release function of a borrowed tensor threw");
  }
}

bool has_host_memory(const Device& device) noexcept {
  return device == Device() || device.memory_domain() == "host";
}

bool share_memory(const Device& a, const Device& b) noexcept {
  return a == b || (has_host_memory(a) && has_host_memory(b)) ||
         (!a.memory_domain().empty() && a.memory_domain() == b.memory_domain());
}

Status copy_memory(const TensorMemory& dst, const TensorMemory& src, std::uint64_t bytes) {
  if (bytes == 0) return {};
  for (const TensorMemory* memory : {&dst, &src}) {
    if (!memory->device) continue;
    if (Status status = memory->device->ready(); !status.ok()) return status;
  }
  if (host_reaches(dst) && host_reaches(src)) {
    std::memcpy(dst.block.host, src.block.host, bytes);
    return {};
  }
  if (dst.device == src.device) {
    return copy_now(*dst.device, MINIINFER_COPY_DEVICE_TO_DEVICE, dst.block, src.block, bytes);
  }
  if (host_reaches(src)) {
    return copy_now(*dst.device, MINIINFER_COPY_HOST_TO_DEVICE, dst.block, as_host(src, bytes),
                    bytes);
  }
  if (host_reaches(dst)) {
    return copy_now(*src.device, MINIINFER_COPY_DEVICE_TO_HOST, as_host(dst, bytes), src.block,
                    bytes);
  }
  Result<AllocatorPtr> host = AllocatorFactory::get("cpu:0/caching");
  if (!host) return host.status();
  Result<Storage> staging = Storage::create(
      *host,
      {.bytes = std::min(bytes, kStagingBytes), .lifetime = Lifetime::Staging, .tag = "staging"});
  if (!staging) return staging.status();
  for (std::uint64_t at = 0; at < bytes; at += kStagingBytes) {
    const std::uint64_t now = std::min(bytes - at, kStagingBytes);
    Status status = copy_now(*src.device, MINIINFER_COPY_DEVICE_TO_HOST, staging->block(),
                             part(src.block, at, now), now);
    if (!status.ok()) return status;
    status = copy_now(*dst.device, MINIINFER_COPY_HOST_TO_DEVICE, part(dst.block, at, now),
                      staging->block(), now);
    if (!status.ok()) return status;
  }
  return {};
}

}  // namespace miniinfer
