// non_zero/1 in three launches: each tile's count; where each tile begins, and with that how long a
// row of the output is; the positions. The input is read twice.

#include "plugins/cuda/kernels/block_scan.cuh"
#include "plugins/cuda/kernels/non_zero_launch.hpp"

namespace miniinfer::cuda {
namespace {

constexpr int kPerThread = static_cast<int>(kNonZeroTile / kThreads);

// Bit i: whether the thread's i-th element is not zero. A thread has neighbouring elements.
template <class Bits>
__device__ __forceinline__ unsigned flags_of(const Bits* in, Bits mask, std::int64_t first,
                                             std::int64_t elements) {
  unsigned flags = 0;
  MINIINFER_UNROLL()
  for (int i = 0; i < kPerThread; ++i) {
    if (first + i < elements && (in[first + i] & mask) != 0) flags |= 1u << i;
  }
  return flags;
}

template <class Bits>
__global__ void __launch_bounds__(kThreads)
    count_tiles(const Bits* in, Bits mask, std::int64_t elements, std::int64_t* counts) {
  __shared__ unsigned shared[32];
  const std::int64_t first = blockIdx.x * kNonZeroTile + threadIdx.x * kPerThread;
  unsigned all;
  scan_block(static_cast<unsigned>(__popc(flags_of(in, mask, first, elements))), shared, &all);
  if (threadIdx.x == 0) counts[blockIdx.x] = all;
}

template <class Bits>
__global__ void __launch_bounds__(kThreads)
    put_positions(const __grid_constant__ NonZero args, const Bits* in, Bits mask,
                  const std::int64_t* before, std::int64_t tiles, std::int64_t* out) {
  __shared__ unsigned shared[32];
  const std::int64_t first = blockIdx.x * kNonZeroTile + threadIdx.x * kPerThread;
  const unsigned flags = flags_of(in, mask, first, args.elements);
  unsigned all;
  std::int64_t found =
      before[blockIdx.x] + scan_block(static_cast<unsigned>(__popc(flags)), shared, &all);
  const std::int64_t count = before[tiles];
  for (int i = 0; i < kPerThread; ++i) {
    if ((flags >> i & 1) == 0) continue;
    std::int64_t at = first + i;
    for (int axis = args.rank - 1; axis >= 0; --axis) {
      const std::int64_t quotient = at / args.dims[axis];
      out[axis * count + found] = at - quotient * args.dims[axis];
      at = quotient;
    }
    ++found;
  }
}

template <class Bits>
cudaError_t launch_as(const NonZero& args, const void* in, std::int64_t* out, std::int64_t* count,
                      std::int64_t* workspace, cudaStream_t stream) {
  const auto* bits = static_cast<const Bits*>(in);
  const auto mask = static_cast<Bits>(args.mask);
  const std::int64_t tiles = non_zero_tiles(args.elements);
  const auto blocks = static_cast<unsigned>(tiles);
  if (tiles > 0) {
    const cudaError_t error = launch(count_tiles<Bits>, blocks, kThreads, 0, stream, bits, mask,
                                     args.elements, workspace);
    if (error != cudaSuccess) return error;
  }
  const cudaError_t error =
      launch(scan_counts, 1, 1024, 0, stream, workspace, tiles, args.elements, count);
  if (error != cudaSuccess || tiles == 0) return error;
  return launch(put_positions<Bits>, blocks, kThreads, 0, stream, args, bits, mask,
                static_cast<const std::int64_t*>(workspace), tiles, out);
}

}  // namespace

cudaError_t launch_non_zero(const NonZero& args, const void* in, std::int64_t* out,
                            std::int64_t* count, std::int64_t* workspace, cudaStream_t stream) {
  return with_word(args.element_bytes, [&](auto tag) {
    using Bits = typename decltype(tag)::Storage;
    if constexpr (sizeof(Bits) > 8) {
      return cudaErrorInvalidValue;
    } else {
      return launch_as<Bits>(args, in, out, count, workspace, stream);
    }
  });
}

}  // namespace miniinfer::cuda
