#include "plugins/cuda/kernels/resize.hpp"

#include "miniinfer/sdk/reference/convert.hpp"
#include "plugins/cuda/kernels/resize_launch.hpp"
#include "plugins/cuda/kernels/rows.hpp"
#include "plugins/cuda/kernels/stream_kernel.hpp"

namespace miniinfer::cuda {
namespace {

std::uint64_t bits_of_element(double value, miniinfer_dtype dtype) {
  std::uint64_t bits = 0;
  if (!is_numeric(dtype)) return bits;
  sdk::reference::with_type(dtype, [&](auto type) {
    using S = typename decltype(type)::Stored;
    const S stored = sdk::reference::convert<S>(value);
    std::memcpy(&bits, &stored, sizeof stored);
  });
  return bits;
}

Resize describe(const sdk::Region& region) {
  const auto attrs = region.attrs<miniinfer_resize_attrs>();
  const miniinfer_value& in = region.in(0);
  const miniinfer_value& out = region.out(0);
  Resize resize{};
  resize.rule = {attrs.mode,           attrs.coordinate,           attrs.nearest,
                 attrs.antialias != 0, attrs.exclude_outside != 0, attrs.cubic_coeff};
  resize.dtype = in.dtype;
  resize.element_bytes = sdk::element_bytes(in.dtype);
  resize.in_count = elements(in);
  resize.out_count = elements(out);
  resize.extrapolation = attrs.extrapolation;
  resize.extrapolation_bits = bits_of_element(attrs.extrapolation, in.dtype);
  std::int64_t step = resize.in_count;
  for (int i = 0; i < in.rank; ++i) {
    step = in.dims[i] == 0 ? 0 : step / in.dims[i];
    const ResizeAxis axis = make_resize_axis(attrs, i, in.dims[i], out.dims[i]);
    const bool keeps = is_identity(attrs, axis);
    if (keeps && resize.rank > 0 && resize.taps_of[resize.rank - 1] < 0) {
      resize.out[resize.rank - 1] *= axis.out;
      resize.step[resize.rank - 1] = step;
      continue;
    }
    resize.out[resize.rank] = axis.out;
    resize.step[resize.rank] = step;
    resize.taps_of[resize.rank] = keeps ? -1 : resize.tapped;
    ++resize.rank;
    if (keeps) continue;
    resize.first[resize.tapped] = resize.tap_count;
    resize.axes[resize.tapped++] = axis;
    resize.tap_count += axis.out * axis.taps;
  }
  for (int i = 0; i < resize.rank; ++i) {
    if (resize.out[i] > 0 && resize.out[i] < kSmall) {
      resize.divisors[i] = make_fast_divisor(static_cast<unsigned>(resize.out[i]));
    }
  }
  return resize;
}

class ResizeKernel final : public StreamKernel {
 public:
  explicit ResizeKernel(const sdk::Region& region)
      : StreamKernel("resize"),
        resize_(describe(region)),
        in_(region.arg_in(0)),
        out_(region.arg_out(0)) {}

 private:
  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const override {
    return launch_resize(resize_, operand(run, in_), operand(run, out_), workspace(run), stream);
  }

  Resize resize_;
  int in_, out_;
};

void support(const Device&, const sdk::Region& region, sdk::Choices& choices) {
  const auto attrs = region.attrs<miniinfer_resize_attrs>();
  const miniinfer_value& in = region.in(0);
  const miniinfer_value& out = region.out(0);
  if (region.node_count() != 1 || attrs.mode < 0 || attrs.mode > MINIINFER_RESIZE_CUBIC) {
    return choices.refuse("resize: %u nodes, mode %d: one node and a mode up to cubic are served",
                          region.node_count(), attrs.mode);
  }
  const bool is_nearest = attrs.mode == MINIINFER_RESIZE_NEAREST;
  const bool typed = is_nearest ? sdk::element_bytes(in.dtype) != 0
                                : is_numeric(in.dtype) && in.dtype != MINIINFER_BOOL;
  if (!typed || in.dtype != out.dtype) {
    return choices.refuse(
        "resize: %s to %s: one type is served, of numbers (of whole bytes in the "
        "nearest mode)",
        sdk::dtype_name(in.dtype), sdk::dtype_name(out.dtype));
  }
  if (in.rank != out.rank || !is_dense(in) || !is_dense(out)) {
    return choices.refuse("resize: only row-major operands of one rank are served");
  }
  if (elements(in) == 0 && elements(out) != 0) {
    return choices.refuse("resize: the input has no elements");
  }
  for (int i = 0; i < in.rank; ++i) {
    // Indices are 32 bits; a filter wider than that of any image is a mistake.
    const bool fits = in.dims[i] < kSmall && out.dims[i] < kSmall && attrs.scale[i] > 1e-6;
    if (!fits) return choices.refuse("resize: axis %d is too long, or its scale too small", i);
  }
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  choice->workspace_bytes = resize_table_bytes(describe(region).tap_count);
  choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
}

std::unique_ptr<sdk::Kernel> make(Device&, const sdk::Region& region, const miniinfer_choice&) {
  return std::make_unique<ResizeKernel>(region);
}

}  // namespace

const Family kResize = {MINIINFER_RESIZE, sizeof(miniinfer_resize_attrs), support, make};

}  // namespace miniinfer::cuda
