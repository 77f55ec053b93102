// layer_norm/1. Bound by memory: a row of at most 16384 elements is read once and kept in
// registers, by one warp up to 1024; its variance is the mean of squared distances from the mean,
// not a difference of two large numbers. The rest is rare and read three times: longer rows,
// float64, a scale and bias wider than the row.

#include "plugins/cuda/kernels/layer_norm_launch.hpp"
#include "plugins/cuda/kernels/row_reduce.cuh"

namespace miniinfer::cuda {
namespace {

__device__ __forceinline__ float root(float x) { return sqrtf(x); }
__device__ __forceinline__ double root(double x) { return sqrt(x); }

template <class C>
__device__ void put_number(void* to, std::int32_t dtype, std::int64_t i, C value) {
  if (to == nullptr) return;
  switch (dtype) {
    case MINIINFER_FLOAT64:
      static_cast<double*>(to)[i] = static_cast<double>(value);
      return;
    case MINIINFER_FLOAT16:
      static_cast<Float16*>(to)[i] = convert<Float16>(value);
      return;
    case MINIINFER_BFLOAT16:
      static_cast<BFloat16*>(to)[i] = convert<BFloat16>(value);
      return;
    default:
      static_cast<float*>(to)[i] = static_cast<float>(value);
  }
}

template <class C>
struct Statistics {
  C mean, inverse;

  // From the sum of squared distances.
  static __device__ Statistics of(C mean, C squares, const LayerNorm& args) {
    const C variance = squares / static_cast<C>(args.length);
    return {mean, C{1} / root(variance + static_cast<C>(args.epsilon))};
  }
  __device__ void put(const LayerNorm& args, std::int64_t row) const {
    put_number(args.mean, args.mean_dtype, row, mean);
    put_number(args.inverse, args.inverse_dtype, row, inverse);
  }
};

template <class S, int kPacks, int kWide, bool kBlock>
__global__ void __launch_bounds__(kBlock ? 1024 : kWarp* kRowsPerBlock)
    layer_norm_row(LayerNorm args) {
  using C = Compute<S>;
  using Group = RowGroup<kBlock>;
  __shared__ C shared[kWarp];
  const std::int64_t row = Group::row();
  if (row >= args.rows) return;  // a whole warp
  const int length = static_cast<int>(args.length);
  C x[kPacks * kWide];
  load_row<S, kPacks, kWide, Group>(static_cast<const S*>(args.in) + row * length, length, C{0}, x);
  C mean = 0;
  if (!args.rms) {
    MINIINFER_UNROLL()
    for (int i = 0; i < kPacks * kWide; ++i) mean += x[i];
    mean = Group::template reduce<Sum>(mean, C{0}, shared) / static_cast<C>(length);
  }
  C squares = 0;
  MINIINFER_UNROLL()
  for (int p = 0; p < kPacks; ++p) {
    const bool inside = (p * Group::size() + Group::rank()) * kWide < length;
    MINIINFER_UNROLL()
    for (int i = p * kWide; i < (p + 1) * kWide; ++i) {
      x[i] -= mean;
      if (inside) squares += x[i] * x[i];
    }
  }
  squares = Group::template reduce<Sum>(squares, C{0}, shared);
  const auto statistics = Statistics<C>::of(mean, squares, args);
  if (Group::rank() == 0) statistics.put(args, row);
  MINIINFER_UNROLL()
  for (int p = 0; p < kPacks; ++p) {
    const int at = (p * Group::size() + Group::rank()) * kWide;
    if (at >= length) continue;
    Pack<S, kWide> scale, bias;
    if (args.scale != nullptr) {
      scale = *reinterpret_cast<const Pack<S, kWide>*>(static_cast<const S*>(args.scale) + at);
    }
    if (args.bias != nullptr) {
      bias = *reinterpret_cast<const Pack<S, kWide>*>(static_cast<const S*>(args.bias) + at);
    }
    MINIINFER_UNROLL()
    for (int i = 0; i < kWide; ++i) {
      C& y = x[p * kWide + i];
      y *= statistics.inverse;
      if (args.scale != nullptr) y *= Number<S>::load(scale.at[i]);
      if (args.bias != nullptr) y += Number<S>::load(bias.at[i]);
    }
  }
  store_row<S, kPacks, kWide, Group>(static_cast<S*>(args.out) + row * length, length, x);
}

// A is the type of scale and bias.
template <class S, class A>
__global__ void __launch_bounds__(1024) layer_norm_long(LayerNorm args) {
  using C = Compute<S>;
  __shared__ C shared[kWarp];
  const std::int64_t row = blockIdx.x;
  const S* in = static_cast<const S*>(args.in) + row * args.length;
  S* out = static_cast<S*>(args.out) + row * args.length;
  C mean = 0;
  if (!args.rms && args.length > 0) {
    for (std::int64_t i = threadIdx.x; i < args.length; i += blockDim.x) mean += load<S>(in, i);
    mean = reduce_block<Sum>(mean, C{0}, shared) / static_cast<C>(args.length);
  }
  C squares = 0;
  for (std::int64_t i = threadIdx.x; i < args.length; i += blockDim.x) {
    const C distance = load<S>(in, i) - mean;
    squares += distance * distance;
  }
  squares = reduce_block<Sum>(squares, C{0}, shared);
  const auto statistics = Statistics<C>::of(mean, squares, args);
  if (threadIdx.x == 0) statistics.put(args, row);
  for (std::int64_t i = threadIdx.x; i < args.length; i += blockDim.x) {
    C y = (load<S>(in, i) - mean) * statistics.inverse;
    if (args.scale != nullptr) y *= load<A>(args.scale, i);
    if (args.bias != nullptr) y += load<A>(args.bias, i);
    store<S>(out, i, y);
  }
}

template <class From, class To>
__global__ void __launch_bounds__(kThreads)
    spread_affine(AffineRow affine, const From* from, To* row, std::int64_t length) {
  for (std::int64_t i = first_item(); i < length; i += item_step()) {
    const std::int64_t at =
        unravel_wide(i, affine.axes.rank, affine.axes.dims, affine.axes.strides[0]);
    row[i] = convert<To>(Number<From>::load(from[at]));
  }
}

template <class S, int kPerThread, bool kBlock>
cudaError_t launch_rows(const LayerNorm& args, const RowShape& shape, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(row_blocks(shape, args.rows));
  if constexpr (kPerThread % kPackOf<S> == 0) {
    constexpr int kWide = kPackOf<S>;
    if (args.length % kWide == 0 && is_aligned(args.in, 16) && is_aligned(args.out, 16) &&
        is_aligned(args.scale, 16) && is_aligned(args.bias, 16)) {
      return launch(layer_norm_row<S, kPerThread / kWide, kWide, kBlock>, blocks, shape.threads, 0,
                    stream, args);
    }
  }
  return launch(layer_norm_row<S, kPerThread, 1, kBlock>, blocks, shape.threads, 0, stream, args);
}

template <class S>
cudaError_t launch_registers(const LayerNorm& args, const RowShape& shape, cudaStream_t stream) {
  if (shape.block) {
    if (shape.per_thread == 8) return launch_rows<S, 8, true>(args, shape, stream);
    return launch_rows<S, 16, true>(args, shape, stream);
  }
  if (shape.per_thread == 2) return launch_rows<S, 2, false>(args, shape, stream);
  if (shape.per_thread == 8) return launch_rows<S, 8, false>(args, shape, stream);
  return launch_rows<S, 32, false>(args, shape, stream);
}

}  // namespace

cudaError_t launch_layer_norm(const LayerNorm& args, cudaStream_t stream) {
  if (args.rows == 0) return cudaSuccess;
  return with_float(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Storage;
    const RowShape shape = row_shape(args.length);
    const auto blocks = static_cast<unsigned>(args.rows);
    if constexpr (sizeof(S) == 2) {
      if (args.wide_affine) {
        return launch(layer_norm_long<S, float>, blocks, shape.threads, 0, stream, args);
      }
    }
    if constexpr (sizeof(S) < 8) {
      if (shape.per_thread > 0 && args.length > 0) {
        return launch_registers<S>(args, shape, stream);
      }
    }
    return launch(layer_norm_long<S, S>, blocks, shape.threads, 0, stream, args);
  });
}

cudaError_t launch_spread_affine(const AffineRow& affine, const void* from, void* row,
                                 std::int64_t length, bool wide, cudaStream_t stream) {
  if (length == 0) return cudaSuccess;
  return with_float(affine.dtype, [&](auto tag) {
    using From = typename decltype(tag)::Storage;
    const auto* source = static_cast<const From*>(from);
    if (wide) {
      return launch(spread_affine<From, double>, grid_for(length), kThreads, 0, stream, affine,
                    source, static_cast<double*>(row), length);
    }
    return launch(spread_affine<From, float>, grid_for(length), kThreads, 0, stream, affine, source,
                  static_cast<float*>(row), length);
  });
}

}  // namespace miniinfer::cuda
