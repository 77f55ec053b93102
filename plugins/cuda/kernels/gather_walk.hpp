#pragma once

// How indices lead to places, for gather/1 and scatter/1 in all modes. A position of the walk has
// `depth` indices, names a place in the data, and carries a run of elements that lie side by side.
// Places are counted in runs.

#include <cstdint>

#include "miniinfer/abi/op/gather.h"
#include "plugins/cuda/kernels/operand.hpp"

namespace miniinfer::cuda {

struct GatherWalk {
  std::int64_t positions = 0;
  std::int64_t run = 1;     // elements
  std::int64_t places = 0;  // runs in the data
  int depth = 1;
  bool wide = false;  // indices are int64
  // A position's own coordinates: how they move in the data, and in the indices.
  Axes<2> axes;
  FastDivisor divisors[kMaxRank];
  // Of each of its indices: how many there may be, and how far one moves.
  std::int64_t size[kMaxRank] = {};
  std::int64_t stride[kMaxRank] = {};
};

// Operands have ranks that fit; mode, axis and batch_dims are the node's.
GatherWalk make_gather_walk(const miniinfer_value& data, const miniinfer_value& indices, int mode,
                            int axis, int batch_dims);

struct IndexFault {
  std::int64_t index = 0;
  std::int64_t size = 0;
};

// The place of position p, or -1 and what was wrong. Index is unsigned where positions, places and
// indices are all fewer than 2^31, else std::int64_t.
template <class Index>
MINIINFER_HD std::int64_t gather_place(const GatherWalk& walk, Index p, const void* indices,
                                       IndexFault* fault) {
  Index at = 0;
  Index from = 0;
  for (int axis = walk.axes.rank - 1; axis > 0; --axis) {
    Index coordinate;
    if constexpr (sizeof(Index) == 4) {
      coordinate = walk.divisors[axis].split(p);
    } else {
      const Index quotient = p / walk.axes.dims[axis];
      coordinate = p - quotient * walk.axes.dims[axis];
      p = quotient;
    }
    at += coordinate * static_cast<Index>(walk.axes.strides[0][axis]);
    from += coordinate * static_cast<Index>(walk.axes.strides[1][axis]);
  }
  if (walk.axes.rank > 0) {
    at += p * static_cast<Index>(walk.axes.strides[0][0]);
    from += p * static_cast<Index>(walk.axes.strides[1][0]);
  }
  for (int i = 0; i < walk.depth; ++i, ++from) {
    const std::int64_t given = walk.wide ? static_cast<const std::int64_t*>(indices)[from]
                                         : static_cast<const std::int32_t*>(indices)[from];
    const std::int64_t used = given < 0 ? given + walk.size[i] : given;
    if (used < 0 || used >= walk.size[i]) {
      *fault = {given, walk.size[i]};
      return -1;
    }
    at += static_cast<Index>(used) * static_cast<Index>(walk.stride[i]);
  }
  return static_cast<std::int64_t>(at);
}

}  // namespace miniinfer::cuda
