// Integer products: a block computes a tile of 32 x 32, each thread 4 elements of a column, from
// tiles in shared memory. Rare and small in models, so plain.

#include <type_traits>

#include "plugins/cuda/kernels/contract_launch.hpp"
#include "plugins/cuda/kernels/launch.cuh"

namespace miniinfer::cuda {
namespace {

constexpr int kTile = 32;
constexpr int kRows = 8;  // thread rows of a block

template <class T>
struct Tiles {
  T a[kTile][kTile + 1];
  T b[kTile][kTile + 1];
};

// One block column of tiles for each batch; blocks stride over the tiles.
template <class T>
__global__ void __launch_bounds__(kTile* kRows) multiply(IntegerContract args) {
  Tiles<T>& tiles = *dynamic_shared<Tiles<T>>();
  // Wide enough that no promotion to int overflows.
  using Sum = std::conditional_t<sizeof(T) == 8, unsigned long long, unsigned>;
  const std::int64_t tiles_n = (args.n + kTile - 1) / kTile;
  const std::int64_t tiles_m = (args.m + kTile - 1) / kTile;
  const std::int64_t count = args.batches * tiles_m * tiles_n;
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  for (std::int64_t tile = blockIdx.x; tile < count; tile += gridDim.x) {
    const std::int64_t n0 = tile % tiles_n * kTile, m0 = tile / tiles_n % tiles_m * kTile;
    std::int64_t rest = tile / (tiles_n * tiles_m), at_a = 0, at_b = 0, at_out = 0;
    for (int axis = args.axes - 1; axis >= 0; --axis) {
      const std::int64_t i = rest % args.dims[axis];
      rest /= args.dims[axis];
      at_a += i * args.a_batch[axis];
      at_b += i * args.b_batch[axis];
      at_out += i * args.out_batch[axis];
    }
    const T* a = static_cast<const T*>(args.a) + at_a;
    const T* b = static_cast<const T*>(args.b) + at_b;
    T* out = static_cast<T*>(args.out) + at_out;
    Sum sum[kTile / kRows] = {};
    for (std::int64_t k0 = 0; k0 < args.k; k0 += kTile) {
      for (int r = y; r < kTile; r += kRows) {
        const bool in_a = m0 + r < args.m && k0 + x < args.k;
        const bool in_b = k0 + r < args.k && n0 + x < args.n;
        tiles.a[r][x] = in_a ? a[(m0 + r) * args.a_row + (k0 + x) * args.a_column] : T(0);
        tiles.b[r][x] = in_b ? b[(k0 + r) * args.b_row + (n0 + x) * args.b_column] : T(0);
      }
      __syncthreads();
      for (int k = 0; k < kTile; ++k) {
        for (int r = 0; r < kTile / kRows; ++r) {
          sum[r] += static_cast<Sum>(tiles.a[y + r * kRows][k]) * static_cast<Sum>(tiles.b[k][x]);
        }
      }
      __syncthreads();
    }
    for (int r = 0; r < kTile / kRows; ++r) {
      const std::int64_t m = m0 + y + r * kRows, n = n0 + x;
      if (m < args.m && n < args.n) {
        out[m * args.out_row + n * args.out_column] = static_cast<T>(sum[r]);
      }
    }
  }
}

template <class T>
cudaError_t run(const IntegerContract& args, cudaStream_t stream) {
  const std::int64_t tiles =
      args.batches * ((args.m + kTile - 1) / kTile) * ((args.n + kTile - 1) / kTile);
  if (tiles == 0) return cudaSuccess;
  return launch(multiply<T>, dim3(static_cast<unsigned>(tiles < 65536 ? tiles : 65536)),
                dim3(kTile, kRows), sizeof(Tiles<T>), stream, args);
}

}  // namespace

cudaError_t launch_contract_integer(const IntegerContract& args, cudaStream_t stream) {
  switch (args.element_bytes) {
    case 1:
      return run<std::uint8_t>(args, stream);
    case 2:
      return run<std::uint16_t>(args, stream);
    case 4:
      return run<std::uint32_t>(args, stream);
    default:
      return run<std::uint64_t>(args, stream);
  }
}

}  // namespace miniinfer::cuda
