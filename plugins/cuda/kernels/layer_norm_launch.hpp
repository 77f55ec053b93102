#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "plugins/cuda/kernels/operand.hpp"

namespace miniinfer::cuda {

// Rows of `length` elements. `out` may be `in`; mean and inverse (1 / deviation) may be null.
struct LayerNorm {
  const void* in;
  void* out;
  const void* scale;  // a row each, or null; both of x's type, or both of the type of the sums
  const void* bias;
  void* mean;
  void* inverse;
  std::int32_t dtype;
  std::int32_t mean_dtype;
  std::int32_t inverse_dtype;
  bool wide_affine;  // scale and bias are of the type of the sums
  bool rms;
  std::int64_t rows;
  std::int64_t length;
  double epsilon;
};

cudaError_t launch_layer_norm(const LayerNorm& args, cudaStream_t stream);

// A scale or bias as it broadcasts to a row.
struct AffineRow {
  std::int32_t dtype;
  Axes<1> axes;
};

// Writes it out as a row of float32, or of float64 with `wide`.
cudaError_t launch_spread_affine(const AffineRow& affine, const void* from, void* row,
                                 std::int64_t length, bool wide, cudaStream_t stream);

}  // namespace miniinfer::cuda
