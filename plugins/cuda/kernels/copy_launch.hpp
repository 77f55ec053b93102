#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "plugins/cuda/kernels/operand.hpp"

namespace miniinfer::cuda {

// Units from strided places to strided places. Strides are in units; the inner axis is the last.
struct CopyMove {
  const void* src = nullptr;
  void* dst = nullptr;
  std::uint32_t units = 0;  // below 2^31
  std::int32_t rank = 0;
  FastDivisor divisors[kMaxRank];
  std::int64_t src_strides[kMaxRank] = {};
  std::int64_t dst_strides[kMaxRank] = {};
};

// Moves of one unit size, done by one launch. A kernel argument: below 4 KiB.
struct CopyBatch {
  static constexpr int kMost = 15;
  int count = 0;
  CopyMove moves[kMost];
};

// Units of 1, 2, 4, 8 or 16 bytes; every address and stride is a multiple of that.
cudaError_t launch_copy(const CopyBatch& batch, int unit_bytes, cudaStream_t stream);

// dst[j * dst_step + i] = src[i * src_step + j] for i below `rows` and j below `columns`, once for
// each position along the outer axes, of `outer`.
struct CopyTransposed {
  std::uint32_t rows = 0;
  std::uint32_t columns = 0;
  std::int64_t src_step = 0;
  std::int64_t dst_step = 0;
  CopyMove outer;
};

// Units of 1, 2, 4 or 8 bytes.
cudaError_t launch_transposed(const CopyTransposed& move, int unit_bytes, cudaStream_t stream);

}  // namespace miniinfer::cuda
