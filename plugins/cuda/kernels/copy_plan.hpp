#pragma once

#include <cstdint>
#include <vector>

#include "miniinfer/abi/op/copy.h"
#include "plugins/cuda/kernels/copy_launch.hpp"

namespace miniinfer::cuda {

// A region of a copy in the shape of its target. Addresses are offsets in bytes from the operands'
// bases until a run sets them.
struct PlannedCopy {
  std::uint32_t input = 0;
  int unit = 0;  // bytes; every base must be a multiple of it
  std::int64_t src = 0;
  std::int64_t dst = 0;
  bool transposed = false;
  CopyMove move;          // the whole of it, or the outer axes of what is transposed
  CopyTransposed turned;  // its tiles; `outer` is not set
};

// Axes are sorted so that the target's closest elements are the inner ones, merged where both sides
// allow it, and runs become units of up to `most` bytes. Regions without elements give nothing,
// ones of 2^31 units or more several.
std::vector<PlannedCopy> plan_copy(const miniinfer_copy_region& region, std::int64_t element_bytes,
                                   std::int64_t most = 16);

// Whether elements offset + sum(k * stride) lie inside [0, count).
bool stays_inside(const miniinfer_copy_region& region, std::int64_t offset,
                  const std::int64_t* strides, std::int64_t count);

}  // namespace miniinfer::cuda
