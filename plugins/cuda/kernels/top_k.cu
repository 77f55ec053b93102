// top_k/1. Short rows: one block sorts a row in shared memory, log2(n)^2 / 2 steps. Long rows: the
// row is read once for each 8 bits of its key until the k-th element is known (mostly twice for
// float32), and once more to collect; bound by one multiprocessor's bandwidth for each row.

#include "plugins/cuda/kernels/numeric.cuh"
#include "plugins/cuda/kernels/top_k_rows.cuh"

namespace miniinfer::cuda {
namespace {

constexpr std::uint32_t kSelectThreads = 1024;
constexpr std::uint32_t kBatch = 4;  // elements a thread has under way

template <class Bits>
__global__ void __launch_bounds__(1024) sort_rows(TopK args, std::uint32_t padded) {
  using E = Entry<KeyFor<Bits>>;
  E* entries = dynamic_shared<E>();
  for (std::int64_t row = blockIdx.x; row < args.rows; row += gridDim.x) {
    const Bits* in = row_of<Bits>(args, row);
    for (std::uint32_t i = threadIdx.x; i < padded; i += blockDim.x) {
      entries[i] = i < args.length ? E::make(key_of<KeyFor<Bits>>(in[i * args.inner], args.rule), i)
                                   : E::last();
    }
    __syncthreads();
    sort_in_block(entries, padded, 0);
    for (std::uint32_t i = threadIdx.x; i < args.k; i += blockDim.x) {
      put(args, row, in, i, entries[i].position());
    }
    __syncthreads();
  }
}

// The digits of the k-th key that are known: bits from `shift` up.
template <class Key>
struct Threshold {
  Key prefix;
  std::uint32_t shift;
  std::uint32_t wanted;  // how many with just this prefix belong to the k
  std::uint32_t found;   // how many there are
};

// By all threads of a block.
template <class Bits>
__device__ Threshold<KeyFor<Bits>> find_threshold(const TopK& args, const Bits* in) {
  using Key = KeyFor<Bits>;
  __shared__ std::uint32_t counts[256];
  __shared__ Threshold<Key> threshold;
  Threshold<Key> at = {0, 8 * sizeof(Bits), args.k, args.length};
  while (at.shift > 0 && at.found != at.wanted) {
    const std::uint32_t above = at.shift;
    const std::uint32_t shift = above - 8;
    for (std::uint32_t i = threadIdx.x; i < 256; i += blockDim.x) counts[i] = 0;
    __syncthreads();
    for (std::uint32_t first = threadIdx.x; first < args.length; first += kBatch * blockDim.x) {
      Key keys[kBatch];  // read before the first of them is counted
      MINIINFER_UNROLL()
      for (std::uint32_t b = 0; b < kBatch; ++b) {
        const std::uint32_t i = first + b * blockDim.x;
        keys[b] = i < args.length ? key_of<Key>(in[i * args.inner], args.rule) : 0;
      }
      MINIINFER_UNROLL()
      for (std::uint32_t b = 0; b < kBatch; ++b) {
        // A shift by the whole width is not defined; at first all bits are unknown.
        const bool fits = above == 8 * sizeof(Bits) || keys[b] >> above == at.prefix >> above;
        if (fits && first + b * blockDim.x < args.length) {
          atomicAdd(&counts[keys[b] >> shift & 255], 1u);
        }
      }
    }
    __syncthreads();
    // Each lane has 8 digits, the first the largest; in just one lane's the k-th key is.
    if (threadIdx.x < 32) {
      std::uint32_t digit = 255 - 8 * threadIdx.x;
      std::uint32_t mine = 0;
      for (std::uint32_t d = 0; d < 8; ++d) mine += counts[digit - d];
      std::uint32_t up_to = mine;
      for (std::uint32_t distance = 1; distance < 32; distance *= 2) {
        const std::uint32_t other = __shfl_up_sync(~0u, up_to, distance);
        if (threadIdx.x >= distance) up_to += other;
      }
      if (up_to >= at.wanted && up_to - mine < at.wanted) {
        std::uint32_t wanted = at.wanted - (up_to - mine);
        for (; counts[digit] < wanted; --digit) wanted -= counts[digit];
        threshold = {at.prefix | Key{digit} << shift, shift, wanted, counts[digit]};
      }
    }
    __syncthreads();
    at = threshold;
  }
  return at;
}

template <class Bits>
__global__ void __launch_bounds__(1024) select_rows(TopK args, std::uint32_t padded) {
  using Key = KeyFor<Bits>;
  using E = Entry<Key>;
  E* entries = dynamic_shared<E>();
  __shared__ std::uint32_t used;
  __shared__ std::uint32_t warp_counts[kSelectThreads / 32];
  for (std::int64_t row = blockIdx.x; row < args.rows; row += gridDim.x) {
    const Bits* in = row_of<Bits>(args, row);
    const Threshold<Key> at = find_threshold<Bits>(args, in);
    const bool take_all = at.found == at.wanted;
    const Key edge = at.prefix >> at.shift;
    for (std::uint32_t i = threadIdx.x; i < padded; i += blockDim.x) entries[i] = E::last();
    if (threadIdx.x == 0) used = 0;
    __syncthreads();
    std::uint32_t edge_seen = 0;  // elements on the edge in earlier tiles
    for (std::uint32_t tile = 0; tile < args.length; tile += blockDim.x) {
      const std::uint32_t i = tile + threadIdx.x;
      const bool inside = i < args.length;
      const Key key = inside ? key_of<Key>(in[i * args.inner], args.rule) : 0;
      const Key digits = key >> at.shift;
      const bool on_edge = inside && digits == edge;
      bool take = inside && (digits > edge || (on_edge && take_all));
      if (!take_all) {  // only the first of the elements on the edge
        const unsigned lanes = __ballot_sync(~0u, on_edge);
        const std::uint32_t warp = threadIdx.x / 32;
        if (threadIdx.x % 32 == 0) warp_counts[warp] = __popc(lanes);
        __syncthreads();
        std::uint32_t rank = edge_seen + __popc(lanes & ((1u << threadIdx.x % 32) - 1));
        for (std::uint32_t w = 0; w < blockDim.x / 32; ++w) {
          if (w < warp) rank += warp_counts[w];
          edge_seen += warp_counts[w];
        }
        take = take || (on_edge && rank < at.wanted);
        __syncthreads();
      }
      if (take) entries[atomicAdd(&used, 1u)] = E::make(key, i);
    }
    __syncthreads();
    sort_in_block(entries, padded, 0);
    for (std::uint32_t i = threadIdx.x; i < args.k; i += blockDim.x) {
      put(args, row, in, i, entries[i].position());
    }
    __syncthreads();
  }
}

unsigned grid_for(std::int64_t blocks) {
  return static_cast<unsigned>(blocks < (1 << 30) ? blocks : (1 << 30));
}

template <class Bits>
cudaError_t sort_short(const TopK& args, cudaStream_t stream) {
  const std::uint32_t padded = top_k_padded(args.length);
  return launch(sort_rows<Bits>, grid_for(args.rows), threads_for(padded),
                padded * sizeof(Entry<KeyFor<Bits>>), stream, args, padded);
}

template <class Bits>
cudaError_t select_long(const TopK& args, cudaStream_t stream) {
  const std::uint32_t padded = top_k_padded(args.k);
  return launch(select_rows<Bits>, grid_for(args.rows), kSelectThreads,
                padded * sizeof(Entry<KeyFor<Bits>>), stream, args, padded);
}

}  // namespace

cudaError_t launch_top_k_sort(const TopK& args, cudaStream_t stream) {
  return with_bits(args.element_bytes,
                   [&](auto bits) { return sort_short<decltype(bits)>(args, stream); });
}

cudaError_t launch_top_k_select(const TopK& args, cudaStream_t stream) {
  return with_bits(args.element_bytes,
                   [&](auto bits) { return select_long<decltype(bits)>(args, stream); });
}

}  // namespace miniinfer::cuda
