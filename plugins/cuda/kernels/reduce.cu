// reduce/1 over whole axes. Rows: the lanes of a warp take elements side by side, 16 bytes each
// where the type is a float and the axis is contiguous. Columns: neighbouring threads take
// neighbouring outputs. Both are bound by the bytes read; where there are few outputs, several
// warps or blocks share one and a second kernel combines their parts, always in the same order.

#include "plugins/cuda/kernels/launch.cuh"
#include "plugins/cuda/kernels/reduce_combine.cuh"

namespace miniinfer::cuda {
namespace {

constexpr unsigned kWarp = 32;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr unsigned kDeep = 8;       // threads that share a column
constexpr std::uint32_t kRun = 64;  // elements a thread adds before it adds the sum to others

template <class Acc, bool kPositions>
__device__ Partial<Acc, kPositions>* partials(const ReduceWhole& args) {
  static_assert(sizeof(Partial<Acc, kPositions>) <= kReducePartialBytes);
  return static_cast<Partial<Acc, kPositions>*>(args.partial);
}

template <class Acc, bool kPositions>
__device__ void finish(const ReduceWhole& args, std::uint32_t o,
                       const Partial<Acc, kPositions>& total) {
  if constexpr (kPositions) {
    std::int64_t flat = -1;
    if (total.at != kNoPosition) {
      flat = walk_to<true>(args.kept, o).flat + walk_to<true>(args.reduced, total.at).flat;
    }
    const std::int64_t along = total.at == kNoPosition ? 0 : total.at;
    write_position(args.result, o, total.value, along, flat);
  } else {
    write_result(args.result, o, total, args.length);
  }
}

template <class Acc, bool kPositions>
__device__ void put(const ReduceWhole& args, std::uint32_t o, std::uint32_t part,
                    const Partial<Acc, kPositions>& total) {
  if (args.parts > 1) {
    partials<Acc, kPositions>(args)[std::uint64_t{o} * args.parts + part] = total;
  } else {
    finish(args, o, total);
  }
}

// Elements begin + first, begin + first + step, ... below `end` of an output at `base`.
template <class Load, bool kPositions>
__device__ Partial<typename Load::Acc, kPositions> take(const ReduceWhole& args, std::int64_t base,
                                                        std::uint32_t begin, std::uint32_t end,
                                                        std::uint32_t step) {
  using Acc = typename Load::Acc;
  const ReduceResult& result = args.result;
  auto total = nothing<Acc, kPositions>(result);
  std::uint32_t r = begin;
  while (r < end) {
    auto run = nothing<Acc, kPositions>(result);
    if (args.reduced.rank <= 1) {
      const std::int64_t stride = args.reduced.steps[0];
      MINIINFER_UNROLL(kIsFloating<Acc> ? 4 : 2)
      for (std::uint32_t i = 0; i < kRun; ++i, r += step) {
        if (r >= end) break;
        const Acc value = Load::load(result.in, base + r * stride, result.dtype);
        run = combine(result, run, single<Acc, kPositions>(value, r));
      }
    } else {
      MINIINFER_UNROLL(1)
      for (std::uint32_t i = 0; i < kRun && r < end; ++i, r += step) {
        const std::int64_t at = base + walk_to<false>(args.reduced, r).step;
        const Acc value = Load::load(result.in, at, result.dtype);
        run = combine(result, run, single<Acc, kPositions>(value, r));
      }
    }
    total = combine(result, total, run);
  }
  return total;
}

template <class Load>
struct PackOf {
  static constexpr int kElements = 0;  // not read in packs
};
template <class S>
struct PackOf<LoadAs<S>> {
  static constexpr int kElements = sizeof(S) == 8 ? 0 : 16 / sizeof(S);
  struct alignas(16) Pack {
    S v[16 / sizeof(S)];
  };
};

// A lane's share of contiguous elements [begin, end), in whole packs but for the ends.
template <class Load, bool kPositions>
__device__ Partial<typename Load::Acc, kPositions> take_packs(const ReduceWhole& args,
                                                              std::int64_t base,
                                                              std::uint32_t begin,
                                                              std::uint32_t end, unsigned lane) {
  using Acc = typename Load::Acc;
  using Pack = typename PackOf<Load>::Pack;
  constexpr std::uint32_t kElements = PackOf<Load>::kElements;
  constexpr std::uint32_t kRunPacks = kRun / kElements;
  const ReduceResult& result = args.result;
  const auto address = reinterpret_cast<std::uintptr_t>(result.in) +
                       static_cast<std::uintptr_t>(base + begin) * (16 / kElements);
  const auto before = static_cast<std::uint32_t>((0 - address) % 16 / (16 / kElements));
  const std::uint32_t first = begin + before < end ? begin + before : end;
  const std::uint32_t packs = (end - first) / kElements;
  const std::uint32_t last = first + packs * kElements;

  auto total = nothing<Acc, kPositions>(result);
  const auto take_one = [&](std::uint32_t r) {  // before and after the packs: fewer than lanes
    const Acc value = Load::load(result.in, base + r, result.dtype);
    total = combine(result, total, single<Acc, kPositions>(value, r));
  };
  if (begin + lane < first) take_one(begin + lane);
  const auto* from = reinterpret_cast<const Pack*>(address + (first - begin) * (16 / kElements));
  for (std::uint32_t p = lane; p < packs;) {
    auto run = nothing<Acc, kPositions>(result);
    MINIINFER_UNROLL(2)
    for (std::uint32_t i = 0; i < kRunPacks; ++i, p += kWarp) {
      if (p >= packs) break;
      const Pack pack = from[p];
      MINIINFER_UNROLL()
      for (std::uint32_t e = 0; e < kElements; ++e) {
        const Acc value = Load::load(&pack, e, result.dtype);
        run = combine(result, run, single<Acc, kPositions>(value, first + p * kElements + e));
      }
    }
    total = combine(result, total, run);
  }
  if (last + lane < end) take_one(last + lane);
  return total;
}

template <class Load, bool kPositions>
__global__ void __launch_bounds__(kThreads) reduce_rows(const __grid_constant__ ReduceWhole args) {
  using Acc = typename Load::Acc;
  const unsigned lane = threadIdx.x % kWarp;
  const std::uint64_t items = std::uint64_t{args.result.outputs} * args.parts;
  const std::uint64_t step = std::uint64_t{gridDim.x} * kWarps;
  for (std::uint64_t item = std::uint64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp; item < items;
       item += step) {
    const auto o = static_cast<std::uint32_t>(item / args.parts);
    const auto part = static_cast<std::uint32_t>(item % args.parts);
    const std::uint32_t begin = part * args.part;
    const std::uint32_t end = args.length - begin < args.part ? args.length : begin + args.part;
    const std::int64_t base = walk_to<false>(args.kept, o).step;
    Partial<Acc, kPositions> total;
    bool packed = false;
    if constexpr (PackOf<Load>::kElements > 0) {
      // Only where every row begins as far from a whole pack as the others: equal rows are added up
      // in one order and give equal results.
      packed = args.reduced.rank == 1 && args.reduced.steps[0] == 1;
      for (int axis = 0; axis < args.kept.rank; ++axis) {
        packed = packed && args.kept.steps[axis] % PackOf<Load>::kElements == 0;
      }
      if (packed) total = take_packs<Load, kPositions>(args, base, begin, end, lane);
    }
    if (!packed) total = take<Load, kPositions>(args, base, begin + lane, end, kWarp);
    total = combine_warp<Acc, kPositions>(args.result, total);
    if (lane == 0) put(args, o, part, total);
  }
}

template <class Load, bool kPositions>
__global__ void __launch_bounds__(kThreads)
    reduce_columns(const __grid_constant__ ReduceWhole args) {
  using Acc = typename Load::Acc;
  __shared__ Partial<Acc, kPositions> shared[kThreads];
  const std::uint32_t o = blockIdx.x * blockDim.x + threadIdx.x;
  const std::uint32_t part = blockIdx.y;
  const bool exists = o < args.result.outputs;
  auto total = nothing<Acc, kPositions>(args.result);
  if (exists) {
    const std::uint32_t begin = part * args.part;
    const std::uint32_t end = args.length - begin < args.part ? args.length : begin + args.part;
    total = take<Load, kPositions>(args, walk_to<false>(args.kept, o).step, begin + threadIdx.y,
                                   end, blockDim.y);
  }
  if (blockDim.y > 1) {
    shared[threadIdx.y * blockDim.x + threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y != 0) return;
    for (unsigned y = 1; y < blockDim.y; ++y) {
      total = combine(args.result, total, shared[y * blockDim.x + threadIdx.x]);
    }
  }
  if (exists) put(args, o, part, total);
}

// The parts of each output, by a warp.
template <class Acc, bool kPositions>
__global__ void __launch_bounds__(kThreads)
    combine_parts(const __grid_constant__ ReduceWhole args) {
  const unsigned lane = threadIdx.x % kWarp;
  const std::uint32_t o = blockIdx.x * kWarps + threadIdx.x / kWarp;
  if (o >= args.result.outputs) return;
  const auto* mine = partials<Acc, kPositions>(args) + std::uint64_t{o} * args.parts;
  auto total = nothing<Acc, kPositions>(args.result);
  for (std::uint32_t part = lane; part < args.parts; part += kWarp) {
    total = combine(args.result, total, mine[part]);
  }
  total = combine_warp<Acc, kPositions>(args.result, total);
  if (lane == 0) finish(args, o, total);
}

template <class Acc, bool kPositions>
cudaError_t launch_parts(const ReduceWhole& args, cudaStream_t stream) {
  if (args.parts <= 1) return cudaSuccess;
  const unsigned blocks = (args.result.outputs + kWarps - 1) / kWarps;
  return launch(combine_parts<Acc, kPositions>, dim3(blocks), dim3(kThreads), 0, stream, args);
}

template <class Load, bool kPositions>
cudaError_t launch_rows_as(const ReduceWhole& args, cudaStream_t stream) {
  const std::uint64_t items = std::uint64_t{args.result.outputs} * args.parts;
  const std::uint64_t blocks = (items + kWarps - 1) / kWarps;
  constexpr std::uint64_t kMost = 1 << 20;
  const cudaError_t error = launch(reduce_rows<Load, kPositions>,
                                   dim3(static_cast<unsigned>(blocks < kMost ? blocks : kMost)),
                                   dim3(kThreads), 0, stream, args);
  return error != cudaSuccess ? error : launch_parts<typename Load::Acc, kPositions>(args, stream);
}

template <class Load, bool kPositions>
cudaError_t launch_columns_as(const ReduceWhole& args, cudaStream_t stream) {
  const unsigned deep = args.part > kDeep * 4 ? kDeep : 1;
  const unsigned wide = kThreads / deep;
  const dim3 grid((args.result.outputs + wide - 1) / wide, args.parts);
  const cudaError_t error =
      launch(reduce_columns<Load, kPositions>, grid, dim3(wide, deep), 0, stream, args);
  return error != cudaSuccess ? error : launch_parts<typename Load::Acc, kPositions>(args, stream);
}

}  // namespace

cudaError_t launch_reduce_rows(const ReduceWhole& args, cudaStream_t stream) {
  return with_loader(args.result.dtype, [&](auto loader) {
    using Load = decltype(loader);
    return args.result.wants_positions != 0 ? launch_rows_as<Load, true>(args, stream)
                                            : launch_rows_as<Load, false>(args, stream);
  });
}

cudaError_t launch_reduce_columns(const ReduceWhole& args, cudaStream_t stream) {
  return with_loader(args.result.dtype, [&](auto loader) {
    using Load = decltype(loader);
    return args.result.wants_positions != 0 ? launch_columns_as<Load, true>(args, stream)
                                            : launch_columns_as<Load, false>(args, stream);
  });
}

}  // namespace miniinfer::cuda
