// reduce/1 over windows: pooling. A thread for each output; neighbours read overlapping windows, so
// the caches serve most of it. Bound by the loads a window needs.

#include "plugins/cuda/kernels/launch.cuh"
#include "plugins/cuda/kernels/reduce_combine.cuh"

namespace miniinfer::cuda {
namespace {

__device__ inline std::int32_t ceil_divide(std::int32_t a, std::int32_t b) {  // b > 0
  return a > 0 ? (a + b - 1) / b : -(-a / b);
}

// The positions of a window that lie inside the input.
struct Range {
  std::int32_t count;
  std::int64_t step;  // in memory, from one to the next
  std::int64_t flat;
};

// For kAxes axes with a window; a few of them stay in registers.
template <int kAxes>
struct Window {
  Range ranges[kAxes];    // outer to inner
  std::int64_t step = 0;  // of the first position
  std::int64_t flat = 0;
  std::int64_t counted = 1;  // what a mean is divided by
};

template <int kAxes>
__device__ void find_window(const ReduceWindow& args, std::uint32_t o, Window<kAxes>& window) {
  std::int32_t starts[kAxes];
  MINIINFER_UNROLL(kAxes == 2 ? kMaxRank : 1)
  for (int axis = kMaxRank - 1; axis >= 0; --axis) {
    if (axis >= args.rank) continue;
    const auto i = static_cast<std::int32_t>(axis > 0 ? args.outputs[axis].split(o) : o);
    const ReduceWindowAxis& a = args.axes[axis];
    const std::int32_t start = i * a.stride - a.pad_begin;
    window.step += start * a.step;
    window.flat += start * a.flat;
    MINIINFER_UNROLL(kAxes == 2 ? 2 : 1)
    for (int w = 0; w < kAxes; ++w) {
      if (args.window_axis[w] == axis) starts[w] = start;
    }
  }
  MINIINFER_UNROLL(kAxes == 2 ? 2 : 1)
  for (int w = 0; w < kAxes; ++w) {
    window.ranges[w] = {1, 0, 0};
    if (args.window_axis[w] < 0) continue;
    const ReduceWindowAxis& a = args.axes[args.window_axis[w]];
    const std::int32_t start = starts[w];
    const std::int32_t begin = start < 0 ? min(ceil_divide(-start, a.dilation), a.window) : 0;
    const std::int32_t end = max(min(ceil_divide(a.in - start, a.dilation), a.window), begin);
    const Range range{end - begin, a.dilation * a.step, a.dilation * a.flat};
    window.step += begin * range.step;
    window.flat += begin * range.flat;
    window.counted *= args.count_pad != 0
                          ? max(min(ceil_divide(a.in + a.pad_end - start, a.dilation), a.window), 0)
                          : range.count;
    window.ranges[w] = range;
  }
}

template <class Load, bool kPositions, int kAxes>
__global__ void __launch_bounds__(kThreads)
    reduce_windows(const __grid_constant__ ReduceWindow args) {
  using Acc = typename Load::Acc;
  const ReduceResult& result = args.result;
  const std::uint32_t o = blockIdx.x * kThreads + threadIdx.x;
  if (o >= result.outputs) return;
  Window<kAxes> window;
  find_window(args, o, window);

  auto total = nothing<Acc, kPositions>(result);
  std::int64_t found = -1;  // where the extreme is, in the input
  const Range inner = window.ranges[kAxes - 1];
  const Range middle = window.ranges[kAxes - 2];
  std::uint32_t planes = inner.count > 0 ? 1 : 0;
  for (int w = 0; w < kAxes - 2; ++w) planes *= static_cast<std::uint32_t>(window.ranges[w].count);
  std::uint32_t number = 0;  // of the position in the window
  for (std::uint32_t p = 0; p < planes; ++p) {
    std::int64_t step = window.step;
    std::int64_t flat = window.flat;
    std::uint32_t rest = p;
    for (int w = kAxes - 3; w >= 0; --w) {
      const auto count = static_cast<std::uint32_t>(window.ranges[w].count);
      const std::uint32_t i = rest % count;
      rest /= count;
      step += i * window.ranges[w].step;
      flat += i * window.ranges[w].flat;
    }
    for (std::int32_t y = 0; y < middle.count; ++y) {
      auto row = nothing<Acc, kPositions>(result);
      const std::uint32_t first = number;
      std::int64_t at = step + y * middle.step;
      MINIINFER_UNROLL(kAxes == 2 && kIsFloating<Acc> && !kPositions ? 4 : 1)
      for (std::int32_t x = 0; x < inner.count; ++x, ++number, at += inner.step) {
        const Acc value = Load::load(result.in, at, result.dtype);
        row = combine(result, row, single<Acc, kPositions>(value, number));
      }
      total = combine(result, total, row);
      if constexpr (kPositions) {
        if (total.at != kNoPosition && total.at >= first) {  // the best so far is in this row
          found = flat + y * middle.flat + (total.at - first) * inner.flat;
        }
      }
    }
  }
  if constexpr (kPositions) {
    write_position(result, o, total.value, 0, found);
  } else {
    write_result(result, o, total, window.counted);
  }
}

template <class Load, bool kPositions>
cudaError_t launch_as(const ReduceWindow& args, cudaStream_t stream) {
  const dim3 blocks((args.result.outputs + kThreads - 1) / kThreads);
  if (args.few_windows != 0) {
    return launch(reduce_windows<Load, kPositions, 2>, blocks, dim3(kThreads), 0, stream, args);
  }
  return launch(reduce_windows<Load, kPositions, kMaxRank>, blocks, dim3(kThreads), 0, stream,
                args);
}

}  // namespace

cudaError_t launch_reduce_windows(const ReduceWindow& args, cudaStream_t stream) {
  return with_loader(args.result.dtype, [&](auto loader) {
    using Load = decltype(loader);
    return args.result.wants_positions != 0 ? launch_as<Load, true>(args, stream)
                                            : launch_as<Load, false>(args, stream);
  });
}

}  // namespace miniinfer::cuda
