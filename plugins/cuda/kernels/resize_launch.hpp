#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "plugins/cuda/kernels/operand.hpp"
#include "plugins/cuda/kernels/resize_axis.hpp"

namespace miniinfer::cuda {

// Axes that keep their size are joined with neighbours that do, too; the others have taps.
struct Resize {
  ResizeRule rule;
  ResizeAxis axes[kMaxRank];  // of those with taps
  int tapped = 0;
  // All axes, outermost first: output size, step in the input, and which of `axes`, or -1.
  int rank = 0;
  std::int64_t out[kMaxRank] = {};
  std::int64_t step[kMaxRank] = {};
  int taps_of[kMaxRank] = {};
  FastDivisor divisors[kMaxRank];
  // Where the taps of each of `axes` begin in the tables.
  std::int64_t first[kMaxRank] = {};
  std::int64_t tap_count = 0;
  std::int64_t in_count = 0;
  std::int64_t out_count = 0;
  std::int32_t dtype = 0;
  std::int64_t element_bytes = 0;
  double extrapolation = 0;
  std::uint64_t extrapolation_bits = 0;  // as an element
};

// Bytes of both tables: weights in the type that is calculated in, and indices.
constexpr std::uint64_t resize_table_bytes(std::int64_t taps) {
  return static_cast<std::uint64_t>(taps) * (sizeof(double) + sizeof(std::int32_t));
}

// Fills the tables in `workspace`, then resamples by them.
cudaError_t launch_resize(const Resize& args, const void* in, void* out, void* workspace,
                          cudaStream_t stream);

}  // namespace miniinfer::cuda
