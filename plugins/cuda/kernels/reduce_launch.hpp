#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "plugins/cuda/kernels/operand.hpp"

namespace miniinfer::cuda {

// What becomes of the elements of an output.
struct ReduceResult {
  const void* in = nullptr;
  void* out = nullptr;
  std::int64_t* positions = nullptr;  // MAX's second output, or null
  std::int32_t dtype = 0;             // of `in`
  std::int32_t kind = 0;              // MINIINFER_REDUCE_*
  std::uint32_t select_last = 0;
  std::uint32_t wants_positions = 0;  // an ARG kind, or MAX with positions
  std::uint32_t outputs = 0;          // below 2^31
};

// A walk over some axes: element number to offsets in the input's memory and, for positions, in its
// elements' order.
struct ReduceWalk {
  std::int32_t rank = 0;
  FastDivisor divisors[kMaxRank];
  std::int64_t steps[kMaxRank] = {};
  std::int64_t flat[kMaxRank] = {};
};

// Whole axes: output o combines `length` elements, at kept(o) + reduced(r).
struct ReduceWhole {
  ReduceResult result;
  std::uint32_t length = 0;  // below 2^31
  ReduceWalk kept;
  ReduceWalk reduced;
  // An output's elements in this many parts of `part` each; more than one need `partial`, with
  // reduce_partial_bytes for each part of each output.
  std::uint32_t parts = 1;
  std::uint32_t part = 0;
  void* partial = nullptr;
};
inline constexpr std::uint64_t kReducePartialBytes = 16;

// A warp for each output and part: for elements that lie side by side along the reduced axis.
cudaError_t launch_reduce_rows(const ReduceWhole& args, cudaStream_t stream);
// A thread for each output, several where `length` is long: for outputs whose elements lie side by
// side, and for short lengths.
cudaError_t launch_reduce_columns(const ReduceWhole& args, cudaStream_t stream);

struct ReduceWindowAxis {
  std::int32_t in = 1;
  std::int32_t window = 1;
  std::int32_t stride = 1;
  std::int32_t dilation = 1;
  std::int32_t pad_begin = 0;
  std::int32_t pad_end = 0;
  std::int64_t step = 0;  // in the input's memory
  std::int64_t flat = 0;  // in its elements' order
};

// Windows: output o's index along every axis, kept ones (window 1) among them.
struct ReduceWindow {
  ReduceResult result;
  std::uint32_t count_pad = 0;
  std::int32_t rank = 0;
  FastDivisor outputs[kMaxRank];
  ReduceWindowAxis axes[kMaxRank];
  // The axes with a window, outer to inner; -1: none. Up to two lie at the front, and more at the
  // end, of a list that the kernel takes whole.
  std::uint32_t few_windows = 0;
  std::int32_t window_axis[kMaxRank] = {};
};

cudaError_t launch_reduce_windows(const ReduceWindow& args, cudaStream_t stream);

}  // namespace miniinfer::cuda
