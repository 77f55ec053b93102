// CUDA's own allocators in the rows of allocator_rows.hpp. gpu_memory.py compiles it where it runs:
//
//   cuda_memory --peer async|malloc [--seconds 0.3] [--trace FILE]
//
// async: cudaMallocFromPoolAsync of a pool that gives nothing back to the driver. malloc:
// cudaMalloc and cudaFree.

#include <limits>
#include <memory>

#include "cuda_rows.hpp"

namespace {

using allocator_rows::check;

class Async {
 public:
  using Handle = void*;

  Async() { make(); }
  ~Async() { drop(); }

  void* take(std::uint64_t bytes, int on) {
    void* block = nullptr;
    check(cudaMallocFromPoolAsync(&block, bytes, pool_, streams_[on]), "cudaMallocFromPoolAsync");
    return block;
  }
  void give(void* block, int on) { check(cudaFreeAsync(block, streams_[on]), "cudaFreeAsync"); }
  void reset() {
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    check(cudaMemPoolTrimTo(pool_, 0), "cudaMemPoolTrimTo");
  }
  double grow_ns(std::uint64_t bytes) {
    drop();
    make();
    const auto begin = allocator_rows::Clock::now();
    void* const block = take(bytes, 0);
    const double taken = allocator_rows::nanoseconds(begin);
    give(block, 0);
    return taken;
  }
  std::uint64_t reserved_peak() const {
    std::uint64_t bytes = 0;
    check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrReservedMemHigh, &bytes),
          "cudaMemPoolGetAttribute");
    return bytes;
  }

 private:
  void make() {
    cudaMemPoolProps properties{};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = 0;
    check(cudaMemPoolCreate(&pool_, &properties), "cudaMemPoolCreate");
    std::uint64_t keep = std::numeric_limits<std::uint64_t>::max();
    check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &keep),
          "cudaMemPoolSetAttribute");
  }
  void drop() {
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    check(cudaMemPoolDestroy(pool_), "cudaMemPoolDestroy");
  }

  const allocator_rows::Streams streams_;
  cudaMemPool_t pool_ = nullptr;
};

class Malloc {
 public:
  using Handle = void*;

  void* take(std::uint64_t bytes, int) {
    void* block = nullptr;
    check(cudaMalloc(&block, bytes), "cudaMalloc");
    return block;
  }
  void give(void* block, int) { check(cudaFree(block), "cudaFree"); }
  void reset() {}
  double grow_ns(std::uint64_t bytes) {
    const auto begin = allocator_rows::Clock::now();
    void* const block = take(bytes, 0);
    const double taken = allocator_rows::nanoseconds(begin);
    give(block, 0);
    return taken;
  }
  std::uint64_t reserved_peak() const { return 0; }  // the driver does not tell
};

}  // namespace

int main(int argc, char** argv) {
  const allocator_rows::Options options = allocator_rows::parse(argc, argv);
  check(cudaSetDevice(0), "cudaSetDevice");
  check(cudaFree(nullptr), "cudaFree");
  if (options.peer == "malloc") {
    Malloc allocator;
    return allocator_rows::run(allocator, options);
  }
  if (options.peer != "async") allocator_rows::fail("--peer async, or malloc");
  Async allocator;
  return allocator_rows::run(allocator, options);
}
