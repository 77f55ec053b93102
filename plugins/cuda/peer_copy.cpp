#include "plugins/cuda/peer_copy.hpp"

#include "miniinfer/sdk/open_device.hpp"
#include "plugins/cuda/check.hpp"
#include "plugins/cuda/context.hpp"
#include "plugins/cuda/device.hpp"

namespace miniinfer::cuda {
namespace {

Device& device_of(miniinfer_device* device) { return static_cast<Device&>(sdk::unwrap(device)); }

// Lets `reader`'s copies go straight to `owner`'s memory, where the machine has a way.
void allow_access(Device& reader, Device& owner) {
  if (reader.index() == owner.index()) return;
  reader.on_device([&] {
    int possible = 0;
    CUDA_CHECK_THROW(cudaDeviceCanAccessPeer(&possible, reader.index(), owner.index()));
    if (possible == 0) return;
    const cudaError_t error = cudaDeviceEnablePeerAccess(owner.index(), 0);
    if (error == cudaErrorPeerAccessAlreadyEnabled) {
      static_cast<void>(cudaGetLastError());
    } else if (error != cudaSuccess) {
      raise(error, "cudaDeviceEnablePeerAccess");
    }
  });
}

// Without access the driver goes through host memory: in pieces, and in stream order, which is
// still better than what the host could do.
std::uint32_t can(miniinfer_device* target, miniinfer_device* source) noexcept {
  const miniinfer_code code = sdk::detail::guard([&] {
    allow_access(device_of(target), device_of(source));
    allow_access(device_of(source), device_of(target));
  });
  return code == MINIINFER_OK ? 1 : 0;
}

miniinfer_code enqueue(miniinfer_stream* to, miniinfer_mem dst, miniinfer_stream* from,
                       miniinfer_mem src, std::uint64_t bytes) noexcept {
  return sdk::detail::guard(
      [&] { context(sdk::unwrap(to)).copy_from(context(sdk::unwrap(from)), dst, src, bytes); });
}

constexpr miniinfer_peer_copy kTable = {MINIINFER_HEAD(miniinfer_peer_copy), can, enqueue};

}  // namespace

const miniinfer_peer_copy* peer_copy() noexcept { return &kTable; }

}  // namespace miniinfer::cuda
