// layer_norm/1, with the mean taken off or not. A row is all axes from `axis` on.

#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "core/cpu/parallel.hpp"
#include "core/cpu/primitives.hpp"
#include "core/cpu/rows.hpp"
#include "miniinfer/abi/op/norm.h"

namespace miniinfer::cpu {
namespace {

// Scale or bias: as it is, or spread to a row's length in the type of the sums.
struct Affine {
  int arg = -1;
  int dtype = 0;
  bool as_is = false;
  std::array<std::int64_t, MINIINFER_MAX_RANK> strides{};  // bytes, along the axes of a row
};

int sum_type(int dtype) {
  return dtype == MINIINFER_FLOAT64 ? int{MINIINFER_FLOAT64} : int{MINIINFER_FLOAT32};
}

// Right-aligned with the row's axes, of equal size or 1.
bool broadcasts(const miniinfer_value& v, const miniinfer_value& x, int axis) {
  const int row_rank = x.rank - axis;
  for (int i = 0; i < v.rank; ++i) {
    const int from_end = v.rank - 1 - i;
    const std::int64_t size = v.dims[i];
    if (size == 1) continue;
    if (from_end >= row_rank || size != x.dims[x.rank - 1 - from_end]) return false;
  }
  return v.block <= 1 && is_real_float(v.dtype);
}

bool wanted(const RegionView& region, std::uint32_t input) {
  return region.node().in_count > input && !is_absent(region.in(input));
}

struct Layout {
  std::int64_t rows = 1;
  std::int64_t length = 1;
  std::uint64_t row_bytes = 0;     // of scale or bias, spread
  std::uint64_t worker_bytes = 0;  // a row of x that is not in the type of the sums
};

Layout make_layout(const RegionView& region) {
  const miniinfer_value& x = region.in(0);
  const int axis = region.attrs<miniinfer_layer_norm_attrs>().axis;
  Layout layout;
  for (int i = 0; i < x.rank; ++i) (i < axis ? layout.rows : layout.length) *= x.dims[i];
  const auto length = static_cast<std::uint64_t>(layout.length);
  layout.row_bytes = align64(length * element_bytes(sum_type(x.dtype)));
  layout.worker_bytes = x.dtype == sum_type(x.dtype) ? 0 : align64(length * 4);
  return layout;
}

class LayerNorm final : public Kernel {
 public:
  explicit LayerNorm(const RegionView& region)
      : table_(primitives()), workers_(worker_count()), layout_(make_layout(region)) {
    const auto& attrs = region.attrs<miniinfer_layer_norm_attrs>();
    const miniinfer_value& x = region.in(0);
    rms_ = attrs.rms != 0;
    epsilon_ = attrs.epsilon;
    dtype_ = x.dtype;
    bytes_ = static_cast<std::int64_t>(element_bytes(dtype_));
    row_rank_ = x.rank - attrs.axis;
    for (int i = 0; i < row_rank_; ++i)
      row_dims_[static_cast<std::size_t>(i)] = x.dims[attrs.axis + i];
    in_ = region.arg_in(0);
    for (std::uint32_t i = 0; i < 2; ++i) {
      if (wanted(region, i + 1)) affine_[i] = make_affine(region, i + 1);
    }
    for (std::uint32_t o = 0; o < region.node().out_count && o < 3; ++o) {
      if (is_absent(region.out(o))) continue;
      out_[o] = region.arg_out(o);
      out_dtype_[o] = region.out(o).dtype;
    }
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    std::byte* workspace = address(run.workspace);
    const std::byte* affine[2] = {nullptr, nullptr};
    for (int i = 0; i < 2; ++i) {
      if (affine_[i].arg < 0) continue;
      const std::byte* base = address(run.args[affine_[i].arg]);
      affine[i] = base;
      if (affine_[i].as_is) continue;
      std::byte* row = workspace + static_cast<std::uint64_t>(i) * layout_.row_bytes;
      spread(affine_[i], base, row);
      affine[i] = row;
    }
    std::byte* scratch = workspace + 2 * layout_.row_bytes;
    const std::byte* in = address(run.args[in_]);
    std::byte* out[3] = {};
    for (int o = 0; o < 3; ++o) {
      if (out_[o] >= 0) out[o] = address(run.args[out_[o]]);
    }
    const double cost =
        30 + static_cast<double>(layout_.length) * (dtype_ == MINIINFER_FLOAT64 ? 2.0 : 0.3);
    parallel(layout_.rows, cost, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
               for (std::int64_t row = begin; row < end; ++row) {
                 run_row(in, out, affine, row, scratch + worker * layout_.worker_bytes);
               }
             });
    return MINIINFER_OK;
  }

 private:
  Affine make_affine(const RegionView& region, std::uint32_t input) const {
    const miniinfer_value& v = region.in(input);
    Affine affine;
    affine.arg = region.arg_in(input);
    affine.dtype = v.dtype;
    const auto bytes = static_cast<std::int64_t>(element_bytes(v.dtype));
    std::int64_t count = 1;
    for (int i = 0; i < row_rank_ && i < v.rank; ++i) {
      const int at = v.rank - 1 - i;
      count *= v.dims[at];
      affine.strides[static_cast<std::size_t>(row_rank_ - 1 - i)] =
          v.dims[at] == 1 ? 0 : v.strides[at] * bytes;
    }
    affine.as_is = v.dtype == sum_type(dtype_) && count == layout_.length && is_row_major(v);
    return affine;
  }

  // The primitives convert one type into another; a row-major walk collects the elements.
  void spread(const Affine& affine, const std::byte* base, std::byte* row) const {
    const int to = sum_type(dtype_);
    const auto to_bytes = static_cast<std::int64_t>(element_bytes(to));
    std::array<std::int64_t, MINIINFER_MAX_RANK> index{};
    std::int64_t offset = 0;
    for (std::int64_t i = 0; i < layout_.length; ++i) {
      table_.cast[affine.dtype][to](row + i * to_bytes, base + offset, nullptr, nullptr, 1);
      for (int axis = row_rank_ - 1; axis >= 0; --axis) {
        const auto a = static_cast<std::size_t>(axis);
        offset += affine.strides[a];
        if (++index[a] < row_dims_[a]) break;
        offset -= row_dims_[a] * affine.strides[a];
        index[a] = 0;
      }
    }
  }

  void run_row(const std::byte* in, std::byte* const* out, const std::byte* const* affine,
               std::int64_t row, std::byte* scratch) const {
    const std::int64_t n = layout_.length;
    const std::byte* x = in + row * n * bytes_;
    std::byte* y = out[0] + row * n * bytes_;
    double mean = 0;
    double factor = 0;
    if (dtype_ == MINIINFER_FLOAT64) {
      run_double(reinterpret_cast<const double*>(x), reinterpret_cast<double*>(y),
                 reinterpret_cast<const double*>(affine[0]),
                 reinterpret_cast<const double*>(affine[1]), &mean, &factor);
    } else {
      const auto* from = reinterpret_cast<const float*>(x);
      auto* to = reinterpret_cast<float*>(y);
      if (dtype_ != MINIINFER_FLOAT32) {
        to = reinterpret_cast<float*>(scratch);
        table_.cast[dtype_][MINIINFER_FLOAT32](to, x, nullptr, nullptr, n);
        from = to;
      }
      if (!rms_ && n > 0) {
        float sum = 0;
        table_.row[kRowSum][MINIINFER_FLOAT32](&sum, from, n);
        mean = static_cast<double>(sum) / static_cast<double>(n);
      }
      const auto shift = static_cast<float>(mean);
      const double variance =
          static_cast<double>(n > 0 ? table_.square_sum_f32(from, shift, n) : 0.0f) /
          static_cast<double>(n);
      factor = 1.0 / std::sqrt(variance + epsilon_);
      table_.normalize_f32(to, from, shift, static_cast<float>(factor),
                           reinterpret_cast<const float*>(affine[0]),
                           reinterpret_cast<const float*>(affine[1]), n);
      if (dtype_ != MINIINFER_FLOAT32) {
        table_.cast[MINIINFER_FLOAT32][dtype_](y, to, nullptr, nullptr, n);
      }
    }
    put(out[1], 1, row, mean);
    put(out[2], 2, row, factor);
  }

  void run_double(const double* x, double* y, const double* scale, const double* bias, double* mean,
                  double* factor) const {
    const std::int64_t n = layout_.length;
    if (!rms_ && n > 0) {
      table_.row[kRowSum][MINIINFER_FLOAT64](mean, x, n);
      *mean /= static_cast<double>(n);
    }
    double squares = 0;
    for (std::int64_t i = 0; i < n; ++i) squares += (x[i] - *mean) * (x[i] - *mean);
    *factor = 1.0 / std::sqrt(squares / static_cast<double>(n) + epsilon_);
    for (std::int64_t i = 0; i < n; ++i) {
      double value = (x[i] - *mean) * *factor;
      if (scale != nullptr) value *= scale[i];
      if (bias != nullptr) value += bias[i];
      y[i] = value;
    }
  }

  void put(std::byte* out, int o, std::int64_t row, double value) const {
    if (out == nullptr) return;
    const int dtype = out_dtype_[o];
    table_.cast[MINIINFER_FLOAT64][dtype](
        out + row * static_cast<std::int64_t>(element_bytes(dtype)), &value, nullptr, nullptr, 1);
  }

  const PrimitiveTable& table_;
  std::uint32_t workers_;
  Layout layout_;
  bool rms_;
  double epsilon_;
  int dtype_;
  std::int64_t bytes_;
  int row_rank_;
  std::array<std::int64_t, MINIINFER_MAX_RANK> row_dims_{};
  int in_;
  Affine affine_[2];
  int out_[3] = {-1, -1, -1};
  int out_dtype_[3] = {};
};

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  const miniinfer_value& x = region.in(0);
  const auto& attrs = region.attrs<miniinfer_layer_norm_attrs>();
  const miniinfer_value& y = region.out(0);
  bool served = region.node_count() == 1 && is_real_float(x.dtype) && x.dtype == y.dtype &&
                is_row_major(x) && is_row_major(y) && same_shape(x, y) && attrs.axis >= 0 &&
                attrs.axis < x.rank && x.rank <= MINIINFER_MAX_RANK;
  for (std::uint32_t i = 1; served && i < 3; ++i) {
    if (wanted(region, i)) served = broadcasts(region.in(i), x, attrs.axis);
  }
  for (std::uint32_t o = 1; served && o < region.node().out_count; ++o) {
    served = is_absent(region.out(o)) ||
             (is_real_float(region.out(o).dtype) && is_row_major(region.out(o)));
  }
  if (!served) {
    std::snprintf(choice.reason, sizeof choice.reason,
                  "layer_norm: %u nodes, element type %d, axis %d of %d: one node, a float type, "
                  "row-major operands and a scale and bias that broadcast to a row are served",
                  region.node_count(), x.dtype, attrs.axis, x.rank);
    return MINIINFER_UNSUPPORTED;
  }
  const Layout layout = make_layout(region);
  choice.workspace_bytes = 2 * layout.row_bytes + layout.worker_bytes * worker_count();
  choice.in_place = 1;
  choice.cost_ns = static_cast<std::uint64_t>(100 + 0.3 * static_cast<double>(element_count(x)));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

std::unique_ptr<Kernel> create(const RegionView& region) {
  return std::make_unique<LayerNorm>(region);
}

}  // namespace

const Family kLayerNorm = {MINIINFER_LAYER_NORM, sizeof(miniinfer_layer_norm_attrs), support,
                           create};

}  // namespace miniinfer::cpu
