#pragma once

#include <cuda_runtime_api.h>

#include "plugins/cuda/kernels/operand.hpp"

namespace miniinfer::cuda {

struct NonZero {
  std::int64_t elements;
  int element_bytes;
  std::uint64_t mask;  // the bits that make an element differ from 0: not a float's sign
  int rank;
  std::int64_t dims[kMaxRank];
};

inline constexpr std::int64_t kNonZeroTile = 2048;  // elements that a block looks at

constexpr std::int64_t non_zero_tiles(std::int64_t elements) {
  return (elements + kNonZeroTile - 1) / kNonZeroTile;
}

// `workspace` holds a std::int64_t for each tile and one more. `count` may be null.
cudaError_t launch_non_zero(const NonZero& args, const void* in, std::int64_t* out,
                            std::int64_t* count, std::int64_t* workspace, cudaStream_t stream);

}  // namespace miniinfer::cuda
