#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace miniinfer::cuda {

// A [batch, heads, rows, columns] of contiguous columns; steps in elements, 0 along an axis that is
// broadcast.
struct AttentionOperand {
  const void* at;
  std::int64_t batch, head, row;
  bool wide;  // rows begin at multiples of 16 bytes and are whole numbers of them
};

struct Attention {
  AttentionOperand q, k, v, y;
  const void* mask;  // null: none
  std::int64_t mask_batch, mask_head, mask_row, mask_column;
  int batch, heads;
  int heads_per_group;
  int queries, keys;
  int depth, width;  // at most kMostDepth
  float scale;
  bool nan_to_zero;
  // Query i meets keys up to i + past; as many as there are where nothing is left out.
  std::int64_t past;
  std::int32_t dtype;
};

inline constexpr int kMostDepth = 128;

// By tensor cores: float16, bfloat16 (both summed in float32), or float32 rounded to tf32. The last
// two need compute capability 8.0.
cudaError_t launch_attention_mma(const Attention& args, cudaStream_t stream);
// float32 alone, as it is.
cudaError_t launch_attention_float(const Attention& args, cudaStream_t stream);

}  // namespace miniinfer::cuda
