// resize/1. Every mode is separable: one axis after the other, outermost first, so that all but the
// last pass combine whole rows. The nearest mode picks elements of any type in a single pass.

#include "miniinfer/abi/op/resize.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "core/cpu/parallel.hpp"
#include "core/cpu/primitives.hpp"
#include "core/cpu/resize_axis.hpp"
#include "core/cpu/rows.hpp"

namespace miniinfer::cpu {
namespace {

std::vector<ResizeAxis> make_axes(const RegionView& region) {
  const auto& attrs = region.attrs<miniinfer_resize_attrs>();
  std::vector<ResizeAxis> axes;
  for (int i = 0; i < region.in(0).rank; ++i) {
    axes.push_back(make_resize_axis(attrs, i, region.in(0).dims[i], region.out(0).dims[i]));
  }
  return axes;
}

// Calls f for each output element that the crop leaves outside.
template <class F>
void each_outside(const std::vector<ResizeAxis>& axes, std::int64_t elements, const F& f) {
  bool any = false;
  for (const ResizeAxis& axis : axes) {
    any |= std::find(axis.outside.begin(), axis.outside.end(), 1) != axis.outside.end();
  }
  if (!any) return;
  for (std::int64_t i = 0; i < elements; ++i) {
    std::int64_t at = i;
    for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
      if (axis->outside[static_cast<std::size_t>(at % axis->out)] != 0) {
        f(i);
        break;
      }
      at /= axis->out;
    }
  }
}

class ResizeNearest final : public Kernel {
 public:
  explicit ResizeNearest(const RegionView& region)
      : axes_(make_axes(region)),
        workers_(worker_count()),
        bytes_(static_cast<std::int64_t>(element_bytes(region.in(0).dtype))),
        elements_(element_count(region.out(0))),
        in_(region.arg_in(0)),
        out_(region.arg_out(0)) {
    const double value = region.attrs<miniinfer_resize_attrs>().extrapolation;
    const Primitive cast =
        primitives().cast[MINIINFER_FLOAT64][std::min<int>(region.in(0).dtype, kDtypes - 1)];
    if (cast != nullptr) cast(&extrapolation_, &value, nullptr, nullptr, 1);
    // Identical inner axes are copied as runs.
    while (!axes_.empty() && axes_.back().is_identity) {
      run_ *= axes_.back().out;
      axes_.pop_back();
    }
    std::int64_t stride = run_;
    strides_.resize(axes_.size());
    for (std::size_t i = axes_.size(); i-- > 0; stride *= axes_[i].in) strides_[i] = stride;
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    const std::byte* in = address(run.args[in_]);
    std::byte* out = address(run.args[out_]);
    if (elements_ == 0) return MINIINFER_OK;
    const std::int64_t width = axes_.empty() ? 1 : axes_.back().out;
    const std::int64_t rows = elements_ / width / run_;
    const double cost = 20 + static_cast<double>(width) * (0.7 + static_cast<double>(run_) * 0.1);
    parallel(rows, cost, workers_, [&](std::int64_t begin, std::int64_t end, std::uint32_t) {
      for (std::int64_t row = begin; row < end; ++row) {
        std::int64_t from = 0, at = row;
        for (std::size_t i = axes_.empty() ? 0 : axes_.size() - 1; i-- > 0;) {
          from += axes_[i].index[static_cast<std::size_t>(at % axes_[i].out)] * strides_[i];
          at /= axes_[i].out;
        }
        copy_row(out + row * width * run_ * bytes_, in + from * bytes_, width);
      }
    });
    const auto size = static_cast<std::size_t>(run_ * bytes_);
    each_outside(axes_, elements_ / run_, [&](std::int64_t i) {
      for (std::size_t b = 0; b < size; b += static_cast<std::size_t>(bytes_)) {
        std::memcpy(out + static_cast<std::size_t>(i) * size + b, &extrapolation_,
                    static_cast<std::size_t>(bytes_));
      }
    });
    return MINIINFER_OK;
  }

 private:
  template <class T>
  void pick(std::byte* out, const std::byte* in, std::int64_t width) const noexcept {
    const std::int32_t* index = axes_.back().index.data();
    auto* to = reinterpret_cast<T*>(out);
    const auto* from = reinterpret_cast<const T*>(in);
    for (std::int64_t i = 0; i < width; ++i) to[i] = from[index[i]];
  }

  void copy_row(std::byte* out, const std::byte* in, std::int64_t width) const noexcept {
    if (axes_.empty()) {
      std::memcpy(out, in, static_cast<std::size_t>(run_ * bytes_));
      return;
    }
    if (run_ == 1) {
      if (bytes_ == 1) return pick<std::uint8_t>(out, in, width);
      if (bytes_ == 2) return pick<std::uint16_t>(out, in, width);
      if (bytes_ == 4) return pick<std::uint32_t>(out, in, width);
      if (bytes_ == 8) return pick<std::uint64_t>(out, in, width);
    }
    const std::int64_t size = run_ * bytes_;
    for (std::int64_t i = 0; i < width; ++i) {
      std::memcpy(out + i * size, in + axes_.back().index[static_cast<std::size_t>(i)] * size,
                  static_cast<std::size_t>(size));
    }
  }

  std::vector<ResizeAxis> axes_;
  std::vector<std::int64_t> strides_;
  std::uint32_t workers_;
  std::int64_t bytes_, elements_;
  std::int64_t run_ = 1;
  std::uint64_t extrapolation_ = 0;
  int in_, out_;
};

// The passes of a linear or cubic resize: elements after each, and what they are computed in.
struct ResizeSpace {
  explicit ResizeSpace(const RegionView& region) {
    dtype = region.in(0).dtype;
    const bool narrow = dtype == MINIINFER_FLOAT16 || dtype == MINIINFER_BFLOAT16;
    compute =
        dtype == MINIINFER_FLOAT32 || narrow ? int{MINIINFER_FLOAT32} : int{MINIINFER_FLOAT64};
    std::int64_t elements = element_count(region.in(0));
    std::int64_t most = elements;
    for (int i = 0; i < region.in(0).rank; ++i) {
      if (region.in(0).dims[i] == 0) break;
      elements = elements / region.in(0).dims[i] * region.out(0).dims[i];
      most = std::max(most, elements);
    }
    buffer = align64(static_cast<std::uint64_t>(most) * (compute == MINIINFER_FLOAT32 ? 4 : 8));
  }
  int dtype, compute;
  std::uint64_t buffer;  // bytes of one of two
};

template <class T>
class ResizeSmooth final : public Kernel {
 public:
  explicit ResizeSmooth(const RegionView& region)
      : space_(region),
        axes_(make_axes(region)),
        workers_(worker_count()),
        elements_in_(element_count(region.in(0))),
        elements_out_(element_count(region.out(0))),
        extrapolation_(static_cast<T>(region.attrs<miniinfer_resize_attrs>().extrapolation)),
        in_(region.arg_in(0)),
        out_(region.arg_out(0)) {
    std::int64_t inner = 1;
    for (std::size_t i = axes_.size(); i-- > 0; inner *= axes_[i].in) {
      if (axes_[i].is_identity) continue;
      Pass pass;
      pass.axis = i;
      pass.inner = inner;
      pass.weight.assign(axes_[i].weight.begin(), axes_[i].weight.end());
      passes_.insert(passes_.begin(), std::move(pass));
    }
    // Passes run outermost first: those before have their output size by then.
    for (Pass& pass : passes_) {
      for (std::size_t i = 0; i < pass.axis; ++i) pass.outer *= axes_[i].out;
    }
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    std::byte* const buffers[2] = {address(run.workspace), address(run.workspace) + space_.buffer};
    std::byte* out = address(run.args[out_]);
    const bool convert = space_.dtype != space_.compute;
    const std::byte* from = address(run.args[in_]);
    if (elements_out_ == 0) return MINIINFER_OK;
    int next = 0;
    if (convert) {
      primitives().cast[space_.dtype][space_.compute](buffers[0], from, nullptr, nullptr,
                                                      elements_in_);
      from = buffers[next++];
    }
    for (std::size_t i = 0; i < passes_.size(); ++i) {
      std::byte* to = i + 1 == passes_.size() && !convert ? out : buffers[next++ % 2];
      run_pass(passes_[i], reinterpret_cast<const T*>(from), reinterpret_cast<T*>(to));
      from = to;
    }
    auto* result = reinterpret_cast<T*>(convert ? const_cast<std::byte*>(from) : out);
    if (passes_.empty() && !convert) {
      std::memcpy(out, from, static_cast<std::size_t>(elements_out_) * sizeof(T));
    }
    each_outside(axes_, elements_out_, [&](std::int64_t i) { result[i] = extrapolation_; });
    if (convert) {
      if (space_.compute == MINIINFER_FLOAT64) {
        // The cast truncates: weights that sum to just under 1 must not lose a unit.
        for (std::int64_t i = 0; i < elements_out_; ++i) {
          result[i] += static_cast<T>(result[i] < 0 ? -1e-6 : 1e-6);
        }
      }
      primitives().cast[space_.compute][space_.dtype](out, result, nullptr, nullptr, elements_out_);
    }
    return MINIINFER_OK;
  }

 private:
  struct Pass {
    std::size_t axis = 0;
    std::int64_t outer = 1;
    std::int64_t inner = 1;
    std::vector<T> weight;
  };

  void run_pass(const Pass& pass, const T* in, T* out) const noexcept {
    const ResizeAxis& axis = axes_[pass.axis];
    const auto taps = static_cast<double>(axis.taps);
    if (pass.inner == 1) {
      parallel(pass.outer, static_cast<double>(axis.out) * taps + 10, workers_,
               [&](std::int64_t begin, std::int64_t end, std::uint32_t) {
                 for (std::int64_t row = begin; row < end; ++row) {
                   combine_elements(pass, axis, in + row * axis.in, out + row * axis.out);
                 }
               });
      return;
    }
    parallel(pass.outer * axis.out, static_cast<double>(pass.inner) * taps * 0.3 + 20, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t) {
               for (std::int64_t i = begin; i < end; ++i) {
                 const std::int64_t position = i % axis.out;
                 const T* slab = in + i / axis.out * axis.in * pass.inner;
                 combine_rows(pass, axis, slab, position, out + i * pass.inner);
               }
             });
  }

  static void combine_elements(const Pass& pass, const ResizeAxis& axis, const T* in,
                               T* out) noexcept {
    const T* w = pass.weight.data();
    const std::int32_t* index = axis.index.data();
    if (axis.taps == 2) {
      for (std::int64_t i = 0; i < axis.out; ++i) {
        out[i] = in[index[2 * i]] * w[2 * i] + in[index[2 * i + 1]] * w[2 * i + 1];
      }
      return;
    }
    for (std::int64_t i = 0; i < axis.out; ++i) {
      T sum = 0;
      for (std::int64_t t = 0; t < axis.taps; ++t) sum += in[*index++] * *w++;
      out[i] = sum;
    }
  }

  static void combine_rows(const Pass& pass, const ResizeAxis& axis, const T* in,
                           std::int64_t position, T* out) noexcept {
    const std::int64_t n = pass.inner;
    const T* w = pass.weight.data() + position * axis.taps;
    const std::int32_t* index = axis.index.data() + position * axis.taps;
    if (axis.taps == 2) {
      const T* a = in + index[0] * n;
      const T* b = in + index[1] * n;
      for (std::int64_t i = 0; i < n; ++i) out[i] = a[i] * w[0] + b[i] * w[1];
      return;
    }
    std::fill(out, out + n, T{0});
    for (std::int64_t t = 0; t < axis.taps; ++t) {
      const T* row = in + index[t] * n;
      for (std::int64_t i = 0; i < n; ++i) out[i] += row[i] * w[t];
    }
  }

  ResizeSpace space_;
  std::vector<ResizeAxis> axes_;
  std::vector<Pass> passes_;
  std::uint32_t workers_;
  std::int64_t elements_in_, elements_out_;
  T extrapolation_;
  int in_, out_;
};

bool is_number(int dtype) {
  return is_real_float(dtype) || (dtype >= MINIINFER_UINT8 && dtype <= MINIINFER_INT64) ||
         dtype == MINIINFER_UINT32 || dtype == MINIINFER_UINT64;
}

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  const miniinfer_value& in = region.in(0);
  const miniinfer_value& out = region.out(0);
  const auto& attrs = region.attrs<miniinfer_resize_attrs>();
  const bool is_nearest = attrs.mode == MINIINFER_RESIZE_NEAREST;
  if (region.node_count() != 1 || in.dtype != out.dtype || in.rank != out.rank ||
      !is_row_major(in) || !is_row_major(out) || attrs.mode < 0 ||
      attrs.mode > MINIINFER_RESIZE_CUBIC ||
      (is_nearest ? element_bytes(in.dtype) == 0 : !is_number(in.dtype))) {
    std::snprintf(choice.reason, sizeof choice.reason,
                  "resize: mode %d of element type %d: numbers (and any whole bytes in the nearest "
                  "mode), equal ranks and row-major operands are served",
                  attrs.mode, in.dtype);
    return MINIINFER_UNSUPPORTED;
  }
  if (element_count(in) == 0 && element_count(out) != 0) {
    std::snprintf(choice.reason, sizeof choice.reason, "resize: the input has no elements");
    return MINIINFER_UNSUPPORTED;
  }
  if (!is_nearest) choice.workspace_bytes = 2 * ResizeSpace(region).buffer;
  choice.cost_ns = static_cast<std::uint64_t>(100 + 3 * static_cast<double>(element_count(out)));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

std::unique_ptr<Kernel> create(const RegionView& region) {
  if (region.attrs<miniinfer_resize_attrs>().mode == MINIINFER_RESIZE_NEAREST) {
    return std::make_unique<ResizeNearest>(region);
  }
  if (ResizeSpace(region).compute == MINIINFER_FLOAT32) {
    return std::make_unique<ResizeSmooth<float>>(region);
  }
  return std::make_unique<ResizeSmooth<double>>(region);
}

}  // namespace

const Family kResize = {MINIINFER_RESIZE, sizeof(miniinfer_resize_attrs), support, create};

}  // namespace miniinfer::cpu
