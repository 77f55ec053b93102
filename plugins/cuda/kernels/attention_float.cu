// attention/1 of float32, exactly: products are one multiplication and one addition each, by the
// ordinary units. Blocked as attention_mma.cu; a block has 128 threads, eight to a row of scores.
// Per four keys a thread reads 16 bytes of each of its rows and of each of its keys for as many
// products as it has rows times keys: shared memory and arithmetic are about as busy.

#include "plugins/cuda/kernels/attention_tile.cuh"
#include "plugins/cuda/kernels/row_reduce.cuh"

namespace miniinfer::cuda {
namespace {

constexpr int kThreadsFloat = 128;
constexpr int kAcross = 8;                      // threads to a row
constexpr int kDown = kThreadsFloat / kAcross;  // rows that are worked on side by side
constexpr int kKeysFloat = 32;                  // of a tile
constexpr int kEach = kKeysFloat / kAcross;     // keys of a thread
constexpr int kScorePitch = kKeysFloat + 4;
constexpr std::int64_t kManyBlocks = 132;

using Four = Pack<float, 4>;

__device__ __forceinline__ Four four(const float* at) { return *reinterpret_cast<const Four*>(at); }

template <int kDepth, int kRows>
__global__ void __launch_bounds__(kThreadsFloat)
    attention_float(const __grid_constant__ Attention x) {
  constexpr int kPitch = kDepth + 4;
  constexpr int kOwn = kRows / kDown;           // rows of a thread: down + i * kDown
  constexpr int kPacks = kDepth / 4 / kAcross;  // columns of y, four at a time
  float* const q_tile = dynamic_shared<float>();
  float* const tile = q_tile + kRows * kPitch;  // of k, then of v
  float* const p_tile = tile + kKeysFloat * kPitch;
  const AttentionPlace<float> place(x, kRows);
  const int across = static_cast<int>(threadIdx.x) % kAcross;
  const int down = static_cast<int>(threadIdx.x) / kAcross;
  const int last = min(place.first + kRows, x.queries) - 1;
  const int keys = keys_of(x, last);

  load_tile<float, kDepth, kPitch>(q_tile, x.q, place.q, kRows, last + 1 - place.first, x.depth);
  float y[kOwn][kPacks][4] = {};
  float top[kOwn], sum[kOwn];
  MINIINFER_UNROLL()
  for (int i = 0; i < kOwn; ++i) {
    top[i] = -INFINITY;
    sum[i] = 0;
  }

  for (int first = 0; first < keys; first += kKeysFloat) {
    const int valid = min(kKeysFloat, x.keys - first);
    load_tile<float, kDepth, kPitch>(tile, x.k, place.k + first * x.k.row, kKeysFloat, valid,
                                     x.depth);
    commit_copies();
    wait_for_copies<0>();
    __syncthreads();
    float p[kOwn][kEach] = {};
    MINIINFER_UNROLL(4)
    for (int d = 0; d < kDepth; d += 4) {
      Four a[kOwn], b[kEach];
      MINIINFER_UNROLL()
      for (int i = 0; i < kOwn; ++i) a[i] = four(q_tile + (down + i * kDown) * kPitch + d);
      MINIINFER_UNROLL()
      for (int j = 0; j < kEach; ++j) b[j] = four(tile + (across + j * kAcross) * kPitch + d);
      MINIINFER_UNROLL()
      for (int i = 0; i < kOwn; ++i) {
        MINIINFER_UNROLL()
        for (int j = 0; j < kEach; ++j) {
          MINIINFER_UNROLL()
          for (int e = 0; e < 4; ++e) p[i][j] += a[i].at[e] * b[j].at[e];
        }
      }
    }
    __syncthreads();
    load_tile<float, kDepth, kPitch>(tile, x.v, place.v + first * x.v.row, kKeysFloat, valid,
                                     x.width);
    commit_copies();

    MINIINFER_UNROLL()
    for (int i = 0; i < kOwn; ++i) {
      const int query = min(place.first + down + i * kDown, last);
      const int limit = keys_of(x, query);
      const float* const mask = place.mask + query * x.mask_row;
      float most = top[i];
      MINIINFER_UNROLL()
      for (int j = 0; j < kEach; ++j) {
        const int key = first + across + j * kAcross;
        const float added = x.mask != nullptr && key < x.keys ? mask[key * x.mask_column] : 0.0f;
        p[i][j] = key < limit ? p[i][j] * x.scale + added : -INFINITY;
        most = fmaxf(most, p[i][j]);
      }
      MINIINFER_UNROLL()
      for (int distance = 1; distance < kAcross; distance *= 2) {
        most = fmaxf(most, __shfl_xor_sync(~0u, most, distance));
      }
      const float base = finite_top(most);
      const float factor = expf(top[i] - base);
      top[i] = most;
      sum[i] *= factor;
      MINIINFER_UNROLL()
      for (int c = 0; c < kPacks; ++c) {
        MINIINFER_UNROLL()
        for (int e = 0; e < 4; ++e) y[i][c][e] *= factor;
      }
      MINIINFER_UNROLL()
      for (int j = 0; j < kEach; ++j) {
        const float power = expf(p[i][j] - base);
        sum[i] += power;
        p_tile[(down + i * kDown) * kScorePitch + across + j * kAcross] = power;
      }
    }
    wait_for_copies<0>();
    __syncthreads();

    MINIINFER_UNROLL(2)
    for (int key = 0; key < kKeysFloat; key += 4) {
      Four a[kOwn];
      MINIINFER_UNROLL()
      for (int i = 0; i < kOwn; ++i) a[i] = four(p_tile + (down + i * kDown) * kScorePitch + key);
      MINIINFER_UNROLL()
      for (int j = 0; j < 4; ++j) {
        MINIINFER_UNROLL()
        for (int c = 0; c < kPacks; ++c) {
          const Four b = four(tile + (key + j) * kPitch + (c * kAcross + across) * 4);
          MINIINFER_UNROLL()
          for (int i = 0; i < kOwn; ++i) {
            MINIINFER_UNROLL()
            for (int e = 0; e < 4; ++e) y[i][c][e] += a[i].at[j] * b.at[e];
          }
        }
      }
    }
    __syncthreads();
  }

  MINIINFER_UNROLL()
  for (int i = 0; i < kOwn; ++i) {
    MINIINFER_UNROLL()
    for (int distance = 1; distance < kAcross; distance *= 2) {
      sum[i] += __shfl_xor_sync(~0u, sum[i], distance);
    }
    const float factor = reciprocal_sum(x, sum[i]);
    const int query = place.first + down + i * kDown;
    if (query > last) continue;
    float* const to = place.y + query * x.y.row;
    MINIINFER_UNROLL()
    for (int c = 0; c < kPacks; ++c) {
      const int column = (c * kAcross + across) * 4;
      Four values;
      MINIINFER_UNROLL()
      for (int e = 0; e < 4; ++e) values.at[e] = scaled(y[i][c][e], factor);
      if (x.y.wide) {
        if (column < x.width) *reinterpret_cast<Four*>(to + column) = values;
        continue;
      }
      MINIINFER_UNROLL()
      for (int e = 0; e < 4; ++e) {
        if (column + e < x.width) to[column + e] = values.at[e];
      }
    }
  }
  // Nothing may be on its way to shared memory when the block ends.
  wait_for_copies<0>();
}

template <int kDepth, int kRows>
cudaError_t launch_rows(const Attention& args, cudaStream_t stream) {
  constexpr std::size_t kBytes =
      ((kRows + kKeysFloat) * (kDepth + 4) + kRows * kScorePitch) * sizeof(float);
  static_assert(kBytes <= 48 * 1024);
  const std::int64_t blocks =
      static_cast<std::int64_t>(args.batch) * args.heads * ((args.queries + kRows - 1) / kRows);
  return launch(attention_float<kDepth, kRows>, static_cast<unsigned>(blocks), kThreadsFloat,
                kBytes, stream, args);
}

// Many rows share a tile's way to shared memory; few make more blocks of a small problem.
template <int kDepth, int kMostRows>
cudaError_t launch_depth(const Attention& args, cudaStream_t stream) {
  const std::int64_t blocks = static_cast<std::int64_t>(args.batch) * args.heads *
                              ((args.queries + kMostRows - 1) / kMostRows);
  if (2 * blocks <= kManyBlocks) return launch_rows<kDepth, 16>(args, stream);
  return launch_rows<kDepth, kMostRows>(args, stream);
}

}  // namespace

cudaError_t launch_attention_float(const Attention& args, cudaStream_t stream) {
  const int depth = args.depth > args.width ? args.depth : args.width;
  if (depth <= 32) return launch_depth<32, 64>(args, stream);
  if (depth <= 64) return launch_depth<64, 64>(args, stream);
  return launch_depth<kMostDepth, 32>(args, stream);
}

}  // namespace miniinfer::cuda
