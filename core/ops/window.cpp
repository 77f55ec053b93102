#include "core/ops/window.hpp"

#include <algorithm>

#include "core/base/checked_math.hpp"

namespace miniinfer {
namespace {

// Products of two such numbers fit.
constexpr std::int64_t kMost = std::int64_t{1} << 31;

long long show(std::int64_t value) { return value; }

Result<Shape> read_list(const Attributes& attributes, const char* name, std::size_t count,
                        std::int64_t fallback, std::int64_t least) {
  Shape out(count, fallback);
  if (const auto given = attributes.get_ints(name); given && !given->empty()) {
    if (given->size() != count) {
      return invalid("%s has %zu numbers for %zu", name, given->size(), count);
    }
    out.assign(given->begin(), given->end());
  }
  for (const std::int64_t value : out) {
    if (value < least || value >= kMost) {
      return invalid("%s has %lld in it; numbers in [%lld, 2^31) are allowed", name, show(value),
                     show(least));
    }
  }
  return out;
}

enum class AutoPad { NotSet, SameUpper, SameLower, Valid };

Result<AutoPad> read_auto_pad(const Attributes& attributes) {
  const std::string_view text = attributes.get_string("auto_pad", "NOTSET");
  if (text == "NOTSET" || text.empty()) return AutoPad::NotSet;
  if (text == "SAME_UPPER") return AutoPad::SameUpper;
  if (text == "SAME_LOWER") return AutoPad::SameLower;
  if (text == "VALID") return AutoPad::Valid;
  return invalid("auto_pad is none of NOTSET, SAME_UPPER, SAME_LOWER and VALID");
}

void share_padding(Window& window, std::size_t axis, std::int64_t total, bool more_at_end) {
  total = std::max<std::int64_t>(total, 0);
  window.pad_begin[axis] = more_at_end ? total / 2 : total - total / 2;
  window.pad_end[axis] = total - window.pad_begin[axis];
}

Result<std::int64_t> placed_size(const Window& window, std::size_t axis, std::int64_t in,
                                 bool ceil_mode) {
  const std::int64_t padded = in + window.pad_begin[axis] + window.pad_end[axis];
  const std::int64_t room = padded - window.extent(axis);
  if (room < 0) {
    if (in == 0) return std::int64_t{0};
    // With ceil_mode a window may reach over the end.
    if (!ceil_mode || -room >= window.stride[axis]) {
      return invalid("the window takes %lld along axis %zu, the padded input has %lld",
                     show(window.extent(axis)), axis + 2, show(padded));
    }
    return std::int64_t{1};
  }
  const std::int64_t stride = window.stride[axis];
  std::int64_t out = room / stride + 1;
  // The last window begins inside the input or the padding before it.
  if (ceil_mode && room % stride != 0 && out * stride < in + window.pad_begin[axis]) ++out;
  return out;
}

}  // namespace

Result<Window> read_window(const Attributes& attributes, Shape kernel) {
  const std::size_t rank = kernel.size();
  for (const std::int64_t size : kernel) {
    if (size < 1 || size >= kMost) return invalid("a window of %lld", show(size));
  }
  Window window;
  window.kernel = std::move(kernel);
  Result<Shape> stride = read_list(attributes, "strides", rank, 1, 1);
  if (!stride) return stride.status();
  Result<Shape> dilation = read_list(attributes, "dilations", rank, 1, 1);
  if (!dilation) return dilation.status();
  Result<Shape> pads = read_list(attributes, "pads", 2 * rank, 0, 0);
  if (!pads) return pads.status();
  window.stride = std::move(*stride);
  window.dilation = std::move(*dilation);
  const auto middle = pads->begin() + static_cast<std::ptrdiff_t>(rank);
  window.pad_begin.assign(pads->begin(), middle);
  window.pad_end.assign(middle, pads->end());
  return window;
}

Result<Shape> place_window(Window& window, const Attributes& attributes,
                           std::span<const std::int64_t> in, bool ceil_mode) {
  Result<AutoPad> auto_pad = read_auto_pad(attributes);
  if (!auto_pad) return auto_pad.status();
  if (in.size() != window.rank()) {
    return invalid("a window of %zu axes on an input of %zu spatial axes", window.rank(),
                   in.size());
  }
  Shape out(in.size(), -1);
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (*auto_pad != AutoPad::NotSet) window.pad_begin[i] = window.pad_end[i] = 0;
    if (in[i] < 0) continue;
    if (*auto_pad == AutoPad::SameUpper || *auto_pad == AutoPad::SameLower) {
      out[i] = in[i] / window.stride[i] + (in[i] % window.stride[i] != 0);
      share_padding(window, i, (out[i] - 1) * window.stride[i] + window.extent(i) - in[i],
                    *auto_pad == AutoPad::SameUpper);
      continue;
    }
    Result<std::int64_t> size =
        placed_size(window, i, in[i], ceil_mode && *auto_pad == AutoPad::NotSet);
    if (!size) return size.status();
    out[i] = *size;
  }
  return out;
}

Result<Shape> place_transposed_window(Window& window, const Attributes& attributes,
                                      std::span<const std::int64_t> in) {
  const std::size_t rank = window.rank();
  Result<AutoPad> auto_pad = read_auto_pad(attributes);
  if (!auto_pad) return auto_pad.status();
  if (in.size() != rank) {
    return invalid("a window of %zu axes on an input of %zu spatial axes", rank, in.size());
  }
  Result<Shape> extra = read_list(attributes, "output_padding", rank, 0, 0);
  if (!extra) return extra.status();
  Shape wanted;
  if (const auto given = attributes.get_ints("output_shape"); given && !given->empty()) {
    // Old files give the batch and the channels too.
    if (given->size() != rank && given->size() != rank + 2) {
      return invalid("output_shape has %zu numbers for %zu axes", given->size(), rank);
    }
    wanted.assign(given->end() - static_cast<std::ptrdiff_t>(rank), given->end());
  }
  const bool same = *auto_pad == AutoPad::SameUpper || *auto_pad == AutoPad::SameLower;
  Shape out(rank, -1);
  for (std::size_t i = 0; i < rank; ++i) {
    if (*auto_pad == AutoPad::Valid) window.pad_begin[i] = window.pad_end[i] = 0;
    if (in[i] < 0) {
      if (!wanted.empty()) out[i] = wanted[i];
      continue;
    }
    std::int64_t full = 0;  // without padding
    if (!checked_mul(window.stride[i], std::max<std::int64_t>(in[i] - 1, 0), &full) ||
        !checked_add(full, window.extent(i) + (*extra)[i], &full)) {
      return invalid("the output along axis %zu is too large", i + 2);
    }
    if (in[i] == 0) full = (*extra)[i];
    if (!wanted.empty() || same) {
      out[i] = wanted.empty() ? in[i] * window.stride[i] : wanted[i];
      if (out[i] < 0) return invalid("output_shape has %lld in it", show(out[i]));
      share_padding(window, i, full - out[i], *auto_pad == AutoPad::SameUpper);
      continue;
    }
    out[i] = full - window.pad_begin[i] - window.pad_end[i];
    if (out[i] < 0) {
      return invalid("padding of %lld and %lld takes more than there is along axis %zu: %lld",
                     show(window.pad_begin[i]), show(window.pad_end[i]), i + 2, show(full));
    }
  }
  return out;
}

Result<miniinfer_reduce_attrs> window_attrs(const Window& window, std::size_t rank) {
  if (rank > MINIINFER_MAX_RANK) {
    return unsupported("windows on a tensor of rank %zu; the most is %d", rank, MINIINFER_MAX_RANK);
  }
  miniinfer_reduce_attrs attrs{};
  const std::size_t shift = rank - window.rank();
  for (std::size_t i = 0; i < rank; ++i) {
    const bool spatial = i >= shift;
    attrs.window[i] = spatial ? window.kernel[i - shift] : 1;
    attrs.stride[i] = spatial ? window.stride[i - shift] : 1;
    attrs.dilation[i] = spatial ? window.dilation[i - shift] : 1;
    attrs.pad_begin[i] = spatial ? window.pad_begin[i - shift] : 0;
    attrs.pad_end[i] = spatial ? window.pad_end[i - shift] : 0;
  }
  return attrs;
}

}  // namespace miniinfer
