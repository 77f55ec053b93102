#pragma once

// The windows of pooling and convolution along the spatial axes.

#include "core/ops/rules.hpp"
#include "miniinfer/abi/op/reduce.h"

namespace miniinfer {

// One number for each spatial axis. The padding is worked out by place_window.
struct Window {
  Shape kernel, stride, dilation, pad_begin, pad_end;

  std::size_t rank() const { return kernel.size(); }
  // From the first to the last position of the window.
  std::int64_t extent(std::size_t axis) const { return (kernel[axis] - 1) * dilation[axis] + 1; }
};

// Reads `strides`, `dilations` and `pads`. INVALID_ARGUMENT for lists of the wrong length, and for
// numbers no tensor can have.
Result<Window> read_window(const Attributes& attributes, Shape kernel);

// Where the window stands on an input with these spatial sizes: gives the output's, and the
// window's padding under `auto_pad`. An unknown size (-1) gives an unknown size. With `ceil_mode` a
// last window that is only partly inside counts.
Result<Shape> place_window(Window& window, const Attributes& attributes,
                           std::span<const std::int64_t> in, bool ceil_mode);

// The sizes of the transposed convolution, by `output_padding`, `output_shape` and `auto_pad`.
Result<Shape> place_transposed_window(Window& window, const Attributes& attributes,
                                      std::span<const std::int64_t> in);

// The window as a reduction of a tensor whose last axes are the spatial ones. UNSUPPORTED where the
// tensor has more axes than a kernel takes.
Result<miniinfer_reduce_attrs> window_attrs(const Window& window, std::size_t rank);

}  // namespace miniinfer
