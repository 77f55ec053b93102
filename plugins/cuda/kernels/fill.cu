#include "plugins/cuda/kernels/fill_launch.hpp"

namespace miniinfer::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr std::uint64_t kMostBlocks = 4096;  // 16 MiB a sweep; beyond that the threads loop
constexpr unsigned kVector = sizeof(ulonglong2);

// Whole vectors in the middle, single bytes before and after. Bound by the bytes written.
__global__ void fill(unsigned char* dst, std::uint64_t bytes, std::uint64_t pattern) {
  const std::uint64_t thread = std::uint64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::uint64_t threads = std::uint64_t{gridDim.x} * kThreads;
  const std::uint64_t to_border = -reinterpret_cast<std::uintptr_t>(dst) & (kVector - 1);
  const std::uint64_t before = to_border < bytes ? to_border : bytes;
  const std::uint64_t vectors = (bytes - before) / kVector;
  const std::uint64_t after = before + vectors * kVector;

  const auto byte_at = [pattern](std::uint64_t i) {
    return static_cast<unsigned char>(pattern >> (i % 8 * 8));
  };
  if (thread < before) dst[thread] = byte_at(thread);
  if (thread < bytes - after) dst[after + thread] = byte_at(after + thread);

  const unsigned turn = before % 8 * 8;
  const std::uint64_t turned = turn == 0 ? pattern : pattern >> turn | pattern << (64 - turn);
  auto* middle = reinterpret_cast<ulonglong2*>(dst + before);
  for (std::uint64_t i = thread; i < vectors; i += threads) {
    middle[i] = make_ulonglong2(turned, turned);
  }
}

}  // namespace

cudaError_t launch_fill(void* dst, std::uint64_t bytes, std::uint64_t pattern,
                        cudaStream_t stream) {
  const std::uint64_t wanted = (bytes / kVector + kThreads) / kThreads;
  const auto blocks = static_cast<unsigned>(wanted < kMostBlocks ? wanted : kMostBlocks);
  fill<<<blocks, kThreads, 0, stream>>>(static_cast<unsigned char*>(dst), bytes, pattern);
  return cudaGetLastError();
}

cudaError_t check_kernels() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, fill);
}

}  // namespace miniinfer::cuda
