// attention/1 by tensor cores. A block takes 16 queries a warp of one head, and walks over the keys
// in tiles, with the largest score and the sum so far kept beside the weighted values (Milakov and
// Gimelshein, "Online normalizer calculation for softmax", 2018; Dao, "FlashAttention-2", 2023): no
// score leaves the registers. The next tile of k and v is on its way while one is worked on.
//
// Bound by latency where there are few heads and queries, and so in as many blocks as there are
// multiprocessors; else by the products, 4 * queries * keys * depth operations a head.

#include "plugins/cuda/kernels/attention_fragments.cuh"
#include "plugins/cuda/kernels/attention_tile.cuh"
#include "plugins/cuda/kernels/row_reduce.cuh"

namespace miniinfer::cuda {
namespace {

constexpr float kLog2E = 1.44269504f;
constexpr int kMostWarps = 4;
constexpr std::int64_t kManyBlocks = 132;  // the multiprocessors of a large GPU

// The largest of, or the sum over, the four lanes that share a row.
__device__ __forceinline__ float row_top(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
__device__ __forceinline__ float row_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}

// kDepth: of q and k, and the width of v, at most; kKeys: of a tile.
template <class E, int kDepth, int kKeys>
__global__ void __launch_bounds__(kMostWarps * 32)
    attention_mma(const __grid_constant__ Attention x) {
  using F = Fragments<E>;
  constexpr int kPitch = kDepth + F::kPad;
  constexpr int kTile = kKeys * kPitch;
  constexpr int kSteps = kDepth / F::kStep;
  constexpr int kBlocks = kKeys / 8;      // of 8 keys
  constexpr int kColumns = kDepth / 8;    // times 8 columns of y
  E* const shared = dynamic_shared<E>();  // two stages of a tile of k and one of v
  const int rows = static_cast<int>(blockDim.x) / 2;
  const AttentionPlace<E> place(x, rows);
  const int g = lane_of_warp() / 4, t = lane_of_warp() % 4;
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;

  const int last = min(place.first + rows, x.queries) - 1;
  const int keys = keys_of(x, last);
  const int tiles = (keys + kKeys - 1) / kKeys;
  const auto load = [&](int tile) {
    E* const stage = shared + tile % 2 * 2 * kTile;
    const int first = tile * kKeys, valid = min(kKeys, x.keys - first);
    load_tile<E, kDepth, kPitch>(stage, x.k, place.k + first * x.k.row, kKeys, valid, x.depth);
    load_tile<E, kDepth, kPitch>(stage + kTile, x.v, place.v + first * x.v.row, kKeys, valid,
                                 x.width);
  };

  // The queries pass through the second stage, which is large enough (see launch_depth).
  E* const q_tile = shared + 2 * kTile;
  load_tile<E, kDepth, kPitch>(q_tile, x.q, place.q, rows, last + 1 - place.first, x.depth);
  if (tiles > 0) load(0);
  commit_copies();
  wait_for_copies<0>();
  __syncthreads();
  std::uint32_t q[kSteps][4];
  MINIINFER_UNROLL()
  for (int s = 0; s < kSteps; ++s) {
    F::load_rows(q[s], q_tile + warp_row * kPitch + s * F::kStep, kPitch);
  }
  __syncthreads();

  float y[kColumns][4] = {};
  float top[2] = {-INFINITY, -INFINITY};
  float sum[2] = {};
  int limit[2];
  const E* mask[2];
  MINIINFER_UNROLL()
  for (int r = 0; r < 2; ++r) {
    const int query = min(place.first + warp_row + g + r * 8, last);
    limit[r] = keys_of(x, query);
    mask[r] = place.mask + query * x.mask_row;
  }

  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) load(tile + 1);
    commit_copies();
    wait_for_copies<1>();
    __syncthreads();
    const E* const k_tile = shared + tile % 2 * 2 * kTile;
    const E* const v_tile = k_tile + kTile;

    float p[kBlocks][4] = {};
    MINIINFER_UNROLL()
    for (int n = 0; n < kBlocks; ++n) {
      MINIINFER_UNROLL()
      for (int s = 0; s < kSteps; s += 2) {
        std::uint32_t b[2][2];
        F::load_columns(b, k_tile + n * 8 * kPitch + s * F::kStep, kPitch);
        multiply(E{}, p[n], q[s], b[0]);
        multiply(E{}, p[n], q[s + 1], b[1]);
      }
    }

    float most[2] = {top[0], top[1]};
    MINIINFER_UNROLL()
    for (int n = 0; n < kBlocks; ++n) {
      MINIINFER_UNROLL()
      for (int c = 0; c < 2; ++c) {
        const int key = tile * kKeys + n * 8 + 2 * t + c;
        float added[2] = {};
        if (x.mask != nullptr && key < x.keys) {
          const std::int64_t at = key * x.mask_column;
          added[0] = Number<E>::load(mask[0][at]);
          added[1] = x.mask_row == 0 ? added[0] : Number<E>::load(mask[1][at]);
        }
        MINIINFER_UNROLL()
        for (int r = 0; r < 2; ++r) {
          float& score = p[n][2 * r + c];
          score = key < limit[r] ? score * x.scale + added[r] : -INFINITY;
          most[r] = fmaxf(most[r], score);
        }
      }
    }
    float base[2];
    MINIINFER_UNROLL()
    for (int r = 0; r < 2; ++r) {
      most[r] = row_top(most[r]);
      base[r] = finite_top(most[r]);
      const float factor = exp2f((top[r] - base[r]) * kLog2E);
      top[r] = most[r];
      sum[r] *= factor;
      MINIINFER_UNROLL()
      for (int n = 0; n < kColumns; ++n) {
        y[n][2 * r] *= factor;
        y[n][2 * r + 1] *= factor;
      }
    }
    MINIINFER_UNROLL()
    for (int n = 0; n < kBlocks; ++n) {
      MINIINFER_UNROLL()
      for (int i = 0; i < 4; ++i) {
        p[n][i] = exp2f((p[n][i] - base[i / 2]) * kLog2E);
        sum[i / 2] += p[n][i];
      }
    }

    MINIINFER_UNROLL()
    for (int s = 0; s < kKeys / F::kStep; ++s) {
      std::uint32_t a[4];
      F::pack(a, p + s * (F::kStep / 8));
      MINIINFER_UNROLL()
      for (int n = 0; n < kColumns; n += 2) {
        std::uint32_t b[2][2];
        F::load_depth(b, v_tile + s * F::kStep * kPitch + n * 8, kPitch);
        multiply(E{}, y[n], a, b[0]);
        multiply(E{}, y[n + 1], a, b[1]);
      }
    }
    __syncthreads();
  }

  MINIINFER_UNROLL()
  for (int r = 0; r < 2; ++r) {
    const float factor = reciprocal_sum(x, row_sum(sum[r]));
    const int query = place.first + warp_row + g + r * 8;
    if (query > last) continue;
    E* const to = place.y + query * x.y.row;
    MINIINFER_UNROLL()
    for (int n = 0; n < kColumns; ++n) {
      const int column = n * 8 + 2 * t;
      const Pack<E, 2> pair = {{Number<E>::store(scaled(y[n][2 * r], factor)),
                                Number<E>::store(scaled(y[n][2 * r + 1], factor))}};
      if (x.y.wide) {
        if (column < x.width) *reinterpret_cast<Pack<E, 2>*>(to + column) = pair;
      } else {
        if (column < x.width) to[column] = pair.at[0];
        if (column + 1 < x.width) to[column + 1] = pair.at[1];
      }
    }
  }
}

template <class E, int kDepth, int kKeys>
cudaError_t launch_depth(const Attention& args, cudaStream_t stream) {
  constexpr std::size_t kRowBytes = (kDepth + Fragments<E>::kPad) * sizeof(E);
  static_assert(4 * kKeys * kRowBytes <= 48 * 1024);
  // A stage of 2 * kKeys rows holds the queries on their way.
  int warps = kKeys / 8 < kMostWarps ? kKeys / 8 : kMostWarps;
  const std::int64_t pairs = static_cast<std::int64_t>(args.batch) * args.heads;
  const auto blocks = [&] { return pairs * ((args.queries + 16 * warps - 1) / (16 * warps)); };
  while (warps > 1 && 2 * blocks() <= kManyBlocks) warps /= 2;
  return launch(attention_mma<E, kDepth, kKeys>, static_cast<unsigned>(blocks()), 32 * warps,
                4 * kKeys * kRowBytes, stream, args);
}

template <class E>
cudaError_t launch_type(const Attention& args, cudaStream_t stream) {
  constexpr int kKeys = 128 / static_cast<int>(sizeof(E));
  const int depth = args.depth > args.width ? args.depth : args.width;
  if (depth <= 32) return launch_depth<E, 32, kKeys>(args, stream);
  if (depth <= 64) return launch_depth<E, 64, kKeys>(args, stream);
  return launch_depth<E, kMostDepth, kKeys / 2>(args, stream);
}

}  // namespace

cudaError_t launch_attention_mma(const Attention& args, cudaStream_t stream) {
  switch (args.dtype) {
    case MINIINFER_FLOAT16:
      return launch_type<Float16>(args, stream);
    case MINIINFER_BFLOAT16:
      return launch_type<BFloat16>(args, stream);
    case MINIINFER_FLOAT32:
      return launch_type<float>(args, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace miniinfer::cuda
