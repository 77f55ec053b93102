#include "plugins/cuda/kernels/gather_walk.hpp"

namespace miniinfer::cuda {
namespace {

std::int64_t product(const miniinfer_value& value, int from, int to) {
  std::int64_t count = 1;
  for (int i = from; i < to; ++i) count *= value.dims[i];
  return count;
}

}  // namespace

GatherWalk make_gather_walk(const miniinfer_value& data, const miniinfer_value& indices, int mode,
                            int axis, int batch_dims) {
  GatherWalk walk;
  walk.wide = indices.dtype == MINIINFER_INT64;
  const auto push = [&](std::int64_t dim, std::int64_t data_step, std::int64_t index_step) {
    const std::int64_t steps[] = {data_step, index_step};
    walk.axes.push(dim, steps);
  };
  if (mode == MINIINFER_GATHER_AXIS) {
    walk.run = product(data, axis + 1, data.rank);
    walk.size[0] = data.dims[axis];
    walk.stride[0] = 1;
    push(product(data, 0, axis), walk.size[0], 0);
    push(product(indices, 0, indices.rank), 0, 1);
  } else if (mode == MINIINFER_GATHER_ELEMENTS) {
    walk.size[0] = data.dims[axis];
    walk.stride[0] = product(data, axis + 1, data.rank);
    for (int i = 0; i < data.rank; ++i) {
      push(indices.dims[i], i == axis ? 0 : product(data, i + 1, data.rank),
           product(indices, i + 1, indices.rank));
    }
  } else {
    walk.depth = static_cast<int>(indices.dims[indices.rank - 1]);
    const int used = batch_dims + walk.depth;
    walk.run = product(data, used, data.rank);
    for (int i = 0; i < walk.depth; ++i) {
      walk.size[i] = data.dims[batch_dims + i];
      walk.stride[i] = product(data, batch_dims + i + 1, used);
    }
    const std::int64_t in_batch = product(indices, batch_dims, indices.rank - 1);
    push(product(indices, 0, batch_dims), product(data, batch_dims, used), in_batch * walk.depth);
    push(in_batch, 0, walk.depth);
  }
  walk.axes.merge();
  walk.positions = walk.axes.count();
  walk.places = walk.run == 0 ? 0 : product(data, 0, data.rank) / walk.run;
  for (int i = 0; i < walk.axes.rank; ++i) {
    const std::int64_t dim = walk.axes.dims[i];
    if (dim > 0 && dim < kSmall) {
      walk.divisors[i] = make_fast_divisor(static_cast<unsigned>(dim));
    }
  }
  return walk;
}

}  // namespace miniinfer::cuda
