// copy/1: strided moves. The plan has put each region in the shape of its target, so neighbouring
// threads write neighbouring units; bound by the bytes moved. Where the source runs along another
// axis, tiles go through shared memory and both sides are read and written in rows.

#include "plugins/cuda/kernels/copy_launch.hpp"
#include "plugins/cuda/kernels/launch.cuh"
#include "plugins/cuda/kernels/numeric.cuh"

namespace miniinfer::cuda {
namespace {

struct Blocks {
  std::uint32_t first[CopyBatch::kMost + 1];  // of each move
};

struct Places {
  std::int64_t src;
  std::int64_t dst;
};

__device__ inline Places places_of(const CopyMove& move, std::uint32_t unit) {
  Places at{0, 0};
  for (int axis = move.rank - 1; axis > 0; --axis) {
    const std::int64_t i = move.divisors[axis].split(unit);
    at.src += i * move.src_strides[axis];
    at.dst += i * move.dst_strides[axis];
  }
  at.src += unit * move.src_strides[0];
  at.dst += unit * move.dst_strides[0];
  return at;
}

template <class Unit, int kItems>
__global__ void __launch_bounds__(kThreads)
    copy(const __grid_constant__ CopyBatch batch, const __grid_constant__ Blocks blocks) {
  int m = 0;
  while (m + 1 < batch.count && blockIdx.x >= blocks.first[m + 1]) ++m;
  const CopyMove& move = batch.moves[m];
  const auto* src = static_cast<const Unit*>(move.src);
  auto* dst = static_cast<Unit*>(move.dst);
  const std::uint32_t begin = (blockIdx.x - blocks.first[m]) * (kThreads * kItems) + threadIdx.x;
  Unit units[kItems];
  std::int64_t to[kItems];
  MINIINFER_UNROLL()
  for (int i = 0; i < kItems; ++i) {  // all loads are under way before the first store
    const std::uint32_t unit = begin + i * kThreads;
    if (unit >= move.units) break;
    const Places at = places_of(move, unit);
    units[i] = src[at.src];
    to[i] = at.dst;
  }
  MINIINFER_UNROLL()
  for (int i = 0; i < kItems; ++i) {
    if (begin + i * kThreads < move.units) dst[to[i]] = units[i];
  }
}

template <class Unit, int kItems>
cudaError_t launch_as(const CopyBatch& batch, cudaStream_t stream) {
  Blocks blocks{};
  std::uint32_t total = 0;
  for (int m = 0; m < batch.count; ++m) {
    blocks.first[m] = total;
    constexpr std::uint32_t kPerBlock = kThreads * kItems;
    total += (batch.moves[m].units + kPerBlock - 1) / kPerBlock;
  }
  if (total == 0) return cudaSuccess;
  return launch(copy<Unit, kItems>, dim3(total), dim3(kThreads), 0, stream, batch, blocks);
}

// A tile is kTile rows and columns; a row of shared memory is padded to an odd number of words, so
// that a column of it lies in different banks.
template <class Unit>
struct Tile {
  static constexpr unsigned kTile = sizeof(Unit) < 4 ? 64 : 32;
  static constexpr unsigned kRow = kTile + (sizeof(Unit) < 4 ? 4 / sizeof(Unit) : 1);
};

template <class Unit>
__global__ void __launch_bounds__(kThreads) transpose(const __grid_constant__ CopyTransposed move) {
  constexpr unsigned kTile = Tile<Unit>::kTile;
  constexpr unsigned kRow = Tile<Unit>::kRow;
  __shared__ Unit tile[kTile * kRow];
  const std::uint32_t across = (move.columns + kTile - 1) / kTile;
  const std::uint32_t down = (move.rows + kTile - 1) / kTile;
  std::uint32_t rest = blockIdx.x;
  const std::uint32_t first_column = rest % across * kTile;
  rest /= across;
  const std::uint32_t first_row = rest % down * kTile;
  rest /= down;
  const Places at = places_of(move.outer, rest);
  const auto* src = static_cast<const Unit*>(move.outer.src) + at.src;
  auto* dst = static_cast<Unit*>(move.outer.dst) + at.dst;
  MINIINFER_UNROLL(4)
  for (unsigned n = threadIdx.x; n < kTile * kTile; n += kThreads) {
    const unsigned i = n / kTile;
    const unsigned j = n % kTile;
    if (first_row + i < move.rows && first_column + j < move.columns) {
      tile[i * kRow + j] = src[(first_row + i) * move.src_step + first_column + j];
    }
  }
  __syncthreads();
  MINIINFER_UNROLL(4)
  for (unsigned n = threadIdx.x; n < kTile * kTile; n += kThreads) {
    const unsigned i = n % kTile;
    const unsigned j = n / kTile;
    if (first_row + i < move.rows && first_column + j < move.columns) {
      dst[(first_column + j) * move.dst_step + first_row + i] = tile[i * kRow + j];
    }
  }
}

template <class Unit>
cudaError_t launch_transposed_as(const CopyTransposed& move, cudaStream_t stream) {
  constexpr std::uint64_t kTile = Tile<Unit>::kTile;
  const std::uint64_t blocks =
      (move.columns + kTile - 1) / kTile * ((move.rows + kTile - 1) / kTile) * move.outer.units;
  if (blocks > 0x7FFFFFFF) return cudaErrorInvalidConfiguration;
  return launch(transpose<Unit>, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream,
                move);
}

}  // namespace

cudaError_t launch_copy(const CopyBatch& batch, int unit_bytes, cudaStream_t stream) {
  constexpr std::uint64_t kMany = 1 << 19;  // several units a thread once all processors are busy
  std::uint64_t units = 0;
  for (int m = 0; m < batch.count; ++m) units += batch.moves[m].units;
  return with_word(unit_bytes, [&](auto tag) {
    using Unit = typename decltype(tag)::Storage;
    return units < kMany ? launch_as<Unit, 1>(batch, stream) : launch_as<Unit, 4>(batch, stream);
  });
}

cudaError_t launch_transposed(const CopyTransposed& move, int unit_bytes, cudaStream_t stream) {
  switch (unit_bytes) {
    case 1:
      return launch_transposed_as<unsigned char>(move, stream);
    case 2:
      return launch_transposed_as<unsigned short>(move, stream);
    case 4:
      return launch_transposed_as<unsigned>(move, stream);
    case 8:
      return launch_transposed_as<unsigned long long>(move, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace miniinfer::cuda
