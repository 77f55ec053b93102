// softmax/1. Bound by memory: a row of at most 16384 elements is read once and kept in registers,
// by one warp up to 1024; longer rows are read twice, with the largest element and the sum found
// together. Where the axis is not the innermost, a block takes neighbouring columns, so that each
// step along the axis is read in full lines.

#include "plugins/cuda/kernels/row_reduce.cuh"
#include "plugins/cuda/kernels/softmax_launch.hpp"

namespace miniinfer::cuda {
namespace {

constexpr unsigned kColumnThreads = 256;

__device__ __forceinline__ float power(float x) { return expf(x); }
__device__ __forceinline__ double power(double x) { return exp(x); }
__device__ __forceinline__ float log_of(float x) { return logf(x); }
__device__ __forceinline__ double log_of(double x) { return log(x); }

template <class C>
__device__ __forceinline__ C lowest() {
  return -static_cast<C>(INFINITY);
}

// The largest of some elements, and the sum of exp(x - largest). Of no element: -infinity and 0.
template <class C>
struct Mass {
  C top = lowest<C>();
  C sum = 0;

  static __device__ C term(C x, C top) { return x == lowest<C>() ? C{0} : power(x - top); }
  __device__ void add(C x) {
    const C higher = Largest::of(top, x);
    sum = (higher == top ? sum : sum * term(top, higher)) + term(x, higher);
    top = higher;
  }
};

// What an element becomes, given the row's mass.
template <class C>
struct Finish {
  C top, scale;
  bool logarithm;

  __device__ Finish(C top, C sum, bool logarithm)
      : top(top), scale(logarithm ? log_of(sum) : C{1} / sum), logarithm(logarithm) {}
  __device__ C operator()(C x) const {
    return logarithm ? x - top - scale : power(x - top) * scale;
  }
};

template <class S, int kPacks, int kWide, bool kBlock>
__global__ void __launch_bounds__(kBlock ? 1024 : kWarp* kRowsPerBlock)
    softmax_row(const S* in, S* out, std::int64_t rows, int length, bool logarithm) {
  using C = Compute<S>;
  using Group = RowGroup<kBlock>;
  __shared__ C shared[kWarp];
  const std::int64_t row = Group::row();
  if (row >= rows) return;  // a whole warp
  C x[kPacks * kWide];
  load_row<S, kPacks, kWide, Group>(in + row * length, length, lowest<C>(), x);
  C top = lowest<C>();
  MINIINFER_UNROLL()
  for (int i = 0; i < kPacks * kWide; ++i) top = Largest::of(top, x[i]);
  top = Group::template reduce<Largest>(top, lowest<C>(), shared);
  C sum = 0;
  MINIINFER_UNROLL()
  for (int i = 0; i < kPacks * kWide; ++i) {
    x[i] -= top;
    const C e = power(x[i]);
    sum += e;
    if (!logarithm) x[i] = e;
  }
  sum = Group::template reduce<Sum>(sum, C{0}, shared);
  const C scale = logarithm ? log_of(sum) : C{1} / sum;
  MINIINFER_UNROLL()
  for (int i = 0; i < kPacks * kWide; ++i) x[i] = logarithm ? x[i] - scale : x[i] * scale;
  store_row<S, kPacks, kWide, Group>(out + row * length, length, x);
}

template <class S, int kWide>
__global__ void __launch_bounds__(1024)
    softmax_long(const S* in, S* out, std::int64_t length, bool logarithm) {
  using C = Compute<S>;
  using P = Pack<S, kWide>;
  __shared__ C shared[kWarp];
  const auto* from = reinterpret_cast<const P*>(in + blockIdx.x * length);
  auto* to = reinterpret_cast<P*>(out + blockIdx.x * length);
  const std::int64_t packs = length / kWide;
  Mass<C> mass;
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    const P pack = from[p];
    MINIINFER_UNROLL()
    for (int i = 0; i < kWide; ++i) mass.add(Number<S>::load(pack.at[i]));
  }
  const C top = reduce_block<Largest>(mass.top, lowest<C>(), shared);
  const C sum = reduce_block<Sum>(mass.sum * Mass<C>::term(mass.top, top), C{0}, shared);
  const Finish<C> finish(top, sum, logarithm);
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    P pack = from[p];
    MINIINFER_UNROLL()
    for (int i = 0; i < kWide; ++i) {
      pack.at[i] = Number<S>::store(finish(Number<S>::load(pack.at[i])));
    }
    to[p] = pack;
  }
}

// blockDim.x columns, each by blockDim.y threads.
template <class S>
__global__ void __launch_bounds__(kColumnThreads)
    softmax_columns(const S* in, S* out, std::int64_t columns, std::int64_t length,
                    std::int64_t inner, bool logarithm) {
  using C = Compute<S>;
  __shared__ C tops[kColumnThreads];
  __shared__ C sums[kColumnThreads];
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const bool inside = column < columns;
  const std::int64_t outer = column / inner;
  const std::int64_t base = outer * length * inner + column - outer * inner;
  Mass<C> mass;
  if (inside) {
    for (std::int64_t l = threadIdx.y; l < length; l += blockDim.y) {
      mass.add(load<S>(in, base + l * inner));
    }
  }
  const unsigned slot = threadIdx.y * blockDim.x + threadIdx.x;
  tops[slot] = mass.top;
  sums[slot] = mass.sum;
  __syncthreads();
  C top = lowest<C>();
  for (unsigned y = 0; y < blockDim.y; ++y) {
    top = Largest::of(top, tops[y * blockDim.x + threadIdx.x]);
  }
  C sum = 0;
  for (unsigned y = 0; y < blockDim.y; ++y) {
    const unsigned other = y * blockDim.x + threadIdx.x;
    sum += sums[other] * Mass<C>::term(tops[other], top);
  }
  if (!inside) return;
  const Finish<C> finish(top, sum, logarithm);
  for (std::int64_t l = threadIdx.y; l < length; l += blockDim.y) {
    const std::int64_t at = base + l * inner;
    store<S>(out, at, finish(load<S>(in, at)));
  }
}

template <class S, int kPerThread, bool kBlock>
cudaError_t launch_rows(const Softmax& args, const RowShape& shape, cudaStream_t stream) {
  const auto* in = static_cast<const S*>(args.in);
  auto* out = static_cast<S*>(args.out);
  const auto blocks = static_cast<unsigned>(row_blocks(shape, args.outer));
  const int length = static_cast<int>(args.length);
  if constexpr (kPerThread % kPackOf<S> == 0) {
    constexpr int kWide = kPackOf<S>;
    if (length % kWide == 0 && is_aligned(in, 16) && is_aligned(out, 16)) {
      return launch(softmax_row<S, kPerThread / kWide, kWide, kBlock>, blocks, shape.threads, 0,
                    stream, in, out, args.outer, length, args.logarithm);
    }
  }
  return launch(softmax_row<S, kPerThread, 1, kBlock>, blocks, shape.threads, 0, stream, in, out,
                args.outer, length, args.logarithm);
}

template <class S>
cudaError_t launch_long(const Softmax& args, unsigned threads, cudaStream_t stream) {
  const auto* in = static_cast<const S*>(args.in);
  auto* out = static_cast<S*>(args.out);
  const auto blocks = static_cast<unsigned>(args.outer);
  constexpr int kWide = sizeof(S) < 8 ? kPackOf<S> : 1;
  if (args.length % kWide == 0 && is_aligned(in, 16) && is_aligned(out, 16)) {
    return launch(softmax_long<S, kWide>, blocks, threads, 0, stream, in, out, args.length,
                  args.logarithm);
  }
  return launch(softmax_long<S, 1>, blocks, threads, 0, stream, in, out, args.length,
                args.logarithm);
}

template <class S>
cudaError_t launch_innermost(const Softmax& args, cudaStream_t stream) {
  const RowShape shape = row_shape(args.length);
  if constexpr (sizeof(S) < 8) {  // float64 is rare: one kernel is enough
    if (!shape.block) {
      if (shape.per_thread == 2) return launch_rows<S, 2, false>(args, shape, stream);
      if (shape.per_thread == 8) return launch_rows<S, 8, false>(args, shape, stream);
      return launch_rows<S, 32, false>(args, shape, stream);
    }
    if (shape.per_thread == 8) return launch_rows<S, 8, true>(args, shape, stream);
    if (shape.per_thread == 16) return launch_rows<S, 16, true>(args, shape, stream);
  }
  return launch_long<S>(args, shape.threads, stream);
}

template <class S>
cudaError_t launch_columns(const Softmax& args, cudaStream_t stream) {
  // Few columns or long ones are shared by several threads.
  const std::int64_t columns = args.outer * args.inner;
  unsigned across = kColumnThreads;
  while (across > 32 && (across / 2 >= columns || args.length >= 16 * (kColumnThreads / across))) {
    across /= 2;
  }
  const auto blocks = static_cast<unsigned>((columns + across - 1) / across);
  return launch(softmax_columns<S>, blocks, dim3(across, kColumnThreads / across), 0, stream,
                static_cast<const S*>(args.in), static_cast<S*>(args.out), columns, args.length,
                args.inner, args.logarithm);
}

}  // namespace

cudaError_t launch_softmax(const Softmax& args, cudaStream_t stream) {
  if (args.outer == 0 || args.length == 0 || args.inner == 0) return cudaSuccess;
  return with_float(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Storage;
    return args.inner == 1 ? launch_innermost<S>(args, stream) : launch_columns<S>(args, stream);
  });
}

}  // namespace miniinfer::cuda
