#include "plugins/cuda/kernels/layer_norm.hpp"

#include "miniinfer/abi/op/norm.h"
#include "plugins/cuda/kernels/layer_norm_launch.hpp"
#include "plugins/cuda/kernels/rows.hpp"
#include "plugins/cuda/kernels/stream_kernel.hpp"

namespace miniinfer::cuda {
namespace {

struct RowsOf {
  std::int64_t count = 1;
  std::int64_t length = 1;
};

RowsOf rows_of(const miniinfer_value& x, int axis) {
  RowsOf rows;
  for (int i = 0; i < x.rank; ++i) (i < axis ? rows.count : rows.length) *= x.dims[i];
  return rows;
}

// Right-aligned with the row's axes, of equal size or 1.
bool broadcasts(const miniinfer_value& v, const miniinfer_value& x, int axis) {
  for (int i = 0; i < v.rank; ++i) {
    const int at = x.rank - v.rank + i;
    if (v.dims[i] != 1 && (at < axis || v.dims[i] != x.dims[at])) return false;
  }
  return v.block <= 1 && is_real_float(v.dtype);
}

AffineRow make_affine(const miniinfer_value& v, const miniinfer_value& x, int axis) {
  AffineRow affine{};
  affine.dtype = v.dtype;
  for (int at = axis; at < x.rank; ++at) {
    const int i = at - (x.rank - v.rank);
    const std::int64_t step = i < 0 || v.dims[i] == 1 ? 0 : v.strides[i];
    affine.axes.push(x.dims[at], &step);
  }
  affine.axes.merge();
  return affine;
}

// Whether scale and bias, as far as they are there, are whole rows of x's type already.
bool affine_fits(const sdk::Region& region, std::int64_t length) {
  for (std::uint32_t i = 1; i < 3; ++i) {
    if (!has_in(region, i)) continue;
    const miniinfer_value& v = region.in(i);
    if (v.dtype != region.in(0).dtype || elements(v) != length || !is_dense(v)) return false;
  }
  return true;
}

std::uint64_t spread_bytes(std::int64_t length, miniinfer_dtype dtype) {
  const std::uint64_t bytes =
      static_cast<std::uint64_t>(length) * (dtype == MINIINFER_FLOAT64 ? 8 : 4);
  return (bytes + 63) / 64 * 64;
}

class LayerNormKernel final : public StreamKernel {
 public:
  explicit LayerNormKernel(const sdk::Region& region)
      : StreamKernel("layer_norm"), in_(region.arg_in(0)) {
    const auto attrs = region.attrs<miniinfer_layer_norm_attrs>();
    const miniinfer_value& x = region.in(0);
    const RowsOf rows = rows_of(x, attrs.axis);
    norm_ = {};
    norm_.dtype = x.dtype;
    norm_.rms = attrs.rms != 0;
    norm_.epsilon = attrs.epsilon;
    norm_.rows = rows.count;
    norm_.length = rows.length;
    norm_.wide_affine = !affine_fits(region, rows.length);
    for (std::uint32_t i = 0; i < 2; ++i) {
      if (!has_in(region, i + 1)) continue;
      affine_arg_[i] = region.arg_in(i + 1);
      affine_[i] = make_affine(region.in(i + 1), x, attrs.axis);
    }
    for (std::uint32_t o = 0; o < 3; ++o) out_[o] = arg_of_out(region, o);
    if (out_[1] >= 0) norm_.mean_dtype = region.out(1).dtype;
    if (out_[2] >= 0) norm_.inverse_dtype = region.out(2).dtype;
  }

 private:
  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const override {
    LayerNorm norm = norm_;
    norm.in = operand(run, in_);
    norm.out = operand(run, out_[0]);
    norm.mean = operand(run, out_[1]);
    norm.inverse = operand(run, out_[2]);
    const void* affine[2];
    for (int i = 0; i < 2; ++i) {
      affine[i] = operand(run, affine_arg_[i]);
      if (affine[i] == nullptr || !norm.wide_affine) continue;
      auto* row = workspace<std::byte>(run) +
                  static_cast<std::uint64_t>(i) * spread_bytes(norm.length, norm.dtype);
      const cudaError_t error = launch_spread_affine(affine_[i], affine[i], row, norm.length,
                                                     norm.dtype == MINIINFER_FLOAT64, stream);
      if (error != cudaSuccess) return error;
      affine[i] = row;
    }
    norm.scale = affine[0];
    norm.bias = affine[1];
    return launch_layer_norm(norm, stream);
  }

  LayerNorm norm_;
  AffineRow affine_[2] = {};
  int affine_arg_[2] = {-1, -1};
  int in_;
  int out_[3];
};

void support(const Device&, const sdk::Region& region, sdk::Choices& choices) {
  const auto attrs = region.attrs<miniinfer_layer_norm_attrs>();
  const miniinfer_value& x = region.in(0);
  const miniinfer_value& y = region.out(0);
  if (region.node_count() != 1 || !is_real_float(x.dtype) || x.dtype != y.dtype) {
    return choices.refuse("layer_norm: %u nodes, %s to %s: one node and one float type are served",
                          region.node_count(), sdk::dtype_name(x.dtype), sdk::dtype_name(y.dtype));
  }
  if (attrs.axis < 0 || attrs.axis >= x.rank || !same_shape(x, y) || !is_dense(x) || !is_dense(y)) {
    return choices.refuse(
        "layer_norm: axis %d of %d: only row-major operands of one shape are "
        "served",
        attrs.axis, x.rank);
  }
  const RowsOf rows = rows_of(x, attrs.axis);
  if (rows.count >= kMostRows) return choices.refuse("layer_norm: 2^31 rows or more");
  for (std::uint32_t i = 1; i < 3; ++i) {
    if (has_in(region, i) && !broadcasts(region.in(i), x, attrs.axis)) {
      return choices.refuse("layer_norm: a %s that does not broadcast to a row is not served",
                            i == 1 ? "scale" : "bias");
    }
  }
  for (std::uint32_t o = 1; o < region.out_count(); ++o) {
    if (!has_out(region, o)) continue;
    if (!is_real_float(region.out(o).dtype) || !is_dense(region.out(o))) {
      return choices.refuse("layer_norm: only row-major float statistics are served");
    }
  }
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  if (!affine_fits(region, rows.length)) {
    choice->workspace_bytes = 2 * spread_bytes(rows.length, x.dtype);
  }
  choice->in_place = sdk::in_place_bit(0, 0);
  choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
}

std::unique_ptr<sdk::Kernel> make(Device&, const sdk::Region& region, const miniinfer_choice&) {
  return std::make_unique<LayerNormKernel>(region);
}

}  // namespace

const Family kLayerNorm = {MINIINFER_LAYER_NORM, sizeof(miniinfer_layer_norm_attrs), support, make};

}  // namespace miniinfer::cuda
