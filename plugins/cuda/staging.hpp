#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "plugins/cuda/handles.hpp"

namespace miniinfer::cuda {

// Pinned host memory through which pageable memory reaches the device: two halves, one being filled
// by the host's threads while the copy engine reads the other. One a stream, made at its first
// large copy. [one-at-a-time per stream]
class Staging {
 public:
  Staging();  // throws where there is no pinned memory left

  // Returns when the host's bytes have been read; the device has them in stream order.
  void upload(void* dst, const void* src, std::uint64_t bytes, cudaStream_t stream);

 private:
  static constexpr std::uint64_t kHalf = 4u << 20;  // 4 MiB: 80 us at 50 GB/s, so an event is noise

  UniquePinned memory_;
  UniqueEvent read_[2];  // the copy engine is done with that half
  unsigned next_ = 0;
};

}  // namespace miniinfer::cuda
