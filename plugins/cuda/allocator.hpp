#pragma once

#include <mutex>
#include <unordered_map>

#include "miniinfer/sdk/allocator.hpp"

namespace miniinfer::cuda {

class Device;

// Raw memory of one GPU, or pinned host memory its copy engines reach. Pooling is the host's.
class CUDAAllocator final : public sdk::Allocator {
 public:
  CUDAAllocator(Device& device, miniinfer_memory_kind kind);

  // cudaMalloc or cudaHostAlloc. An alignment beyond min_alignment is met by a larger block whose
  // start is remembered.
  miniinfer_mem allocate(std::uint64_t bytes, std::uint64_t alignment,
                         sdk::Stream* stream) override;
  void free(miniinfer_mem mem, std::uint64_t bytes, sdk::Stream* stream) noexcept override;
  void* host_pointer(miniinfer_mem mem) noexcept override;
  sdk::MemoryInfo info() override;
  // Memory that CUDA knows as this kind and this device's, all of it. INVALID_ARGUMENT otherwise.
  miniinfer_mem import_native(void* native, std::uint64_t bytes) override;

 private:
  bool pinned() const { return traits().kind == MINIINFER_MEMORY_PINNED; }
  void* take(std::uint64_t bytes);
  void give_back(void* start) noexcept;
  [[noreturn]] void fail_out_of_memory(std::uint64_t bytes);
  sdk::MemoryInfo read_info() const;

  Device& device_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, void*> starts_;  // of blocks that were moved to be aligned
};

}  // namespace miniinfer::cuda
