// cum_sum/1. Along the innermost axis a block scans a row tile by tile and carries the sum along;
// elsewhere a thread goes down its column, neighbours side by side. Bound by memory where there are
// rows or columns enough to fill the device.

#include "plugins/cuda/kernels/block_scan.cuh"
#include "plugins/cuda/kernels/cum_sum_launch.hpp"

namespace miniinfer::cuda {
namespace {

constexpr int kPerThread = 4;

// Integers wrap; sums of floats are taken in double, so that a tile's order of sums is not seen.
template <class S>
using Running = std::conditional_t<kIsFloating<Compute<S>>, double, unsigned long long>;

template <class S>
__device__ __forceinline__ Running<S> load_running(const S* in, std::int64_t at) {
  return static_cast<Running<S>>(load<S>(in, at));
}
template <class S>
__device__ __forceinline__ void store_running(S* out, std::int64_t at, Running<S> value) {
  if constexpr (kIsFloating<Compute<S>>) {
    store<S>(out, at, static_cast<Compute<S>>(value));
  } else {
    out[at] = static_cast<S>(value);
  }
}

template <class S>
__global__ void __launch_bounds__(1024) cum_sum_rows(CumSum args) {
  using R = Running<S>;
  __shared__ R shared[32];
  const S* in = static_cast<const S*>(args.in) + blockIdx.x * args.length;
  S* out = static_cast<S*>(args.out) + blockIdx.x * args.length;
  R carried = 0;
  for (std::int64_t tile = 0; tile < args.length; tile += blockDim.x * kPerThread) {
    const std::int64_t first = tile + threadIdx.x * kPerThread;
    R value[kPerThread];
    R mine = 0;
    MINIINFER_UNROLL()
    for (int i = 0; i < kPerThread; ++i) {
      const std::int64_t l = first + i;
      const bool inside = l < args.length;
      value[i] = inside ? load_running(in, args.reverse ? args.length - 1 - l : l) : R{0};
      mine += value[i];
    }
    R all;
    R sum = carried + scan_block(mine, shared, &all);
    MINIINFER_UNROLL()
    for (int i = 0; i < kPerThread; ++i) {
      const std::int64_t l = first + i;
      const R next = sum + value[i];
      if (l < args.length) {
        store_running(out, args.reverse ? args.length - 1 - l : l, args.exclusive ? sum : next);
      }
      sum = next;
    }
    carried += all;
  }
}

template <class S>
__global__ void __launch_bounds__(kThreads) cum_sum_columns(CumSum args) {
  const auto* in = static_cast<const S*>(args.in);
  auto* out = static_cast<S*>(args.out);
  const std::int64_t columns = args.outer * args.inner;
  const std::int64_t step = args.reverse ? -args.inner : args.inner;
  for (std::int64_t column = first_item(); column < columns; column += item_step()) {
    const std::int64_t outer = column / args.inner;
    std::int64_t at = outer * args.length * args.inner + column - outer * args.inner;
    if (args.reverse) at += (args.length - 1) * args.inner;
    Running<S> sum = 0;
    for (std::int64_t l = 0; l < args.length; ++l, at += step) {
      const Running<S> next = sum + load_running(in, at);  // before out, which may be in
      store_running(out, at, args.exclusive ? sum : next);
      sum = next;
    }
  }
}

template <class S>
cudaError_t launch_as(const CumSum& args, cudaStream_t stream) {
  if (args.inner > 1) {
    return launch(cum_sum_columns<S>, grid_for(args.outer * args.inner), kThreads, 0, stream, args);
  }
  unsigned threads = 32;
  while (threads < 512 && threads * kPerThread < args.length) threads *= 2;
  return launch(cum_sum_rows<S>, static_cast<unsigned>(args.outer), threads, 0, stream, args);
}

}  // namespace

cudaError_t launch_cum_sum(const CumSum& args, cudaStream_t stream) {
  if (args.outer == 0 || args.length == 0 || args.inner == 0) return cudaSuccess;
  switch (args.dtype) {  // integers wrap alike, whatever their sign
    case MINIINFER_INT8:
    case MINIINFER_UINT8:
      return launch_as<unsigned char>(args, stream);
    case MINIINFER_INT16:
    case MINIINFER_UINT16:
      return launch_as<unsigned short>(args, stream);
    case MINIINFER_INT32:
    case MINIINFER_UINT32:
      return launch_as<unsigned>(args, stream);
    case MINIINFER_INT64:
    case MINIINFER_UINT64:
      return launch_as<unsigned long long>(args, stream);
    default:
      return with_float(args.dtype, [&](auto tag) {
        return launch_as<typename decltype(tag)::Storage>(args, stream);
      });
  }
}

}  // namespace miniinfer::cuda
