// PyTorch's caching allocator in the rows of allocator_rows.hpp. gpu_memory.py compiles it where it
// runs, against the PyTorch that is installed there:
//
//   torch_memory [--seconds 0.3] [--trace FILE]
//
// PYTORCH_ALLOC_CONF says which of its ways it takes (expandable_segments:True). The main thread
// asks raw_alloc, which finds the current stream; others name theirs.

#include <c10/cuda/CUDACachingAllocator.h>

#include <memory>

#include "cuda_rows.hpp"

namespace {

namespace caching = c10::cuda::CUDACachingAllocator;

using allocator_rows::check;

class Torch {
 public:
  using Handle = void*;

  void* take(std::uint64_t bytes, int on) {
    return on == 0 ? caching::raw_alloc(bytes)
                   : caching::raw_alloc_with_stream(bytes, streams_[on]);
  }
  void give(void* block, int) { caching::raw_delete(block); }
  void reset() {
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    caching::emptyCache();
    caching::resetPeakStats(0);
  }
  double grow_ns(std::uint64_t bytes) {
    reset();
    const auto begin = allocator_rows::Clock::now();
    void* const block = take(bytes, 0);
    const double taken = allocator_rows::nanoseconds(begin);
    give(block, 0);
    return taken;
  }
  std::uint64_t reserved_peak() const {
    const auto stats = caching::getDeviceStats(0);
    return static_cast<std::uint64_t>(
        stats.reserved_bytes[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)]
            .peak);
  }

 private:
  const allocator_rows::Streams streams_;
};

}  // namespace

int main(int argc, char** argv) {
  const allocator_rows::Options options = allocator_rows::parse(argc, argv);
  check(cudaSetDevice(0), "cudaSetDevice");
  check(cudaFree(nullptr), "cudaFree");
  try {
    caching::init(1);
    Torch allocator;
    return allocator_rows::run(allocator, options);
  } catch (const std::exception& error) {
    allocator_rows::fail(error.what());
  }
}
