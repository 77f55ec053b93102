#include "plugins/cuda/staging.hpp"

#include <algorithm>
#include <cstring>

#include "miniinfer/sdk/host.hpp"
#include "plugins/cuda/check.hpp"

namespace miniinfer::cuda {
namespace {

constexpr std::uint64_t kGrain = 512u << 10;  // of the host's copy; smaller does not pay a thread

}  // namespace

Staging::Staging() {
  void* memory = nullptr;
  CUDA_CHECK_THROW(cudaHostAlloc(&memory, 2 * kHalf, cudaHostAllocDefault));
  memory_.reset(static_cast<std::byte*>(memory));
  for (UniqueEvent& event : read_) {
    cudaEvent_t made = nullptr;
    CUDA_CHECK_THROW(cudaEventCreateWithFlags(&made, cudaEventDisableTiming));
    event.reset(made);
  }
}

void Staging::upload(void* dst, const void* src, std::uint64_t bytes, cudaStream_t stream) {
  auto* to = static_cast<std::byte*>(dst);
  const auto* from = static_cast<const std::byte*>(src);
  while (bytes > 0) {
    const std::uint64_t size = std::min(bytes, kHalf);
    std::byte* half = memory_.get() + next_ * kHalf;
    CUDA_CHECK_THROW(
        cudaEventSynchronize(read_[next_].get()));  // at once where it was never recorded
    sdk::parallel_for(size, kGrain, 0, [&](std::uint64_t begin, std::uint64_t end, std::uint32_t) {
      std::memcpy(half + begin, from + begin, end - begin);
    });
    CUDA_CHECK_THROW(cudaMemcpyAsync(to, half, size, cudaMemcpyHostToDevice, stream));
    CUDA_CHECK_THROW(cudaEventRecord(read_[next_].get(), stream));
    next_ ^= 1;
    to += size;
    from += size;
    bytes -= size;
  }
}

}  // namespace miniinfer::cuda
