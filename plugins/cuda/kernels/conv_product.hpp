#pragma once

// A convolution of window 1 as a matrix product. Host code without the library.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include "plugins/cuda/kernels/contract_shape.hpp"
#include "plugins/cuda/kernels/conv_shape.hpp"

namespace miniinfer::cuda {

struct ConvProduct {
  ContractCalls calls;
  // Channels are innermost: all of x times the weights' transpose. Otherwise the weights times x,
  // for each of the batch, and channels are the rows of the output.
  bool channels_last;
};

// Nothing where the convolution is no product, or too thin to be worth one. A stride would leave
// gaps between x's elements, which a library's matrices do not have.
inline std::optional<ConvProduct> conv_product(const ConvArgs& s) {
  constexpr std::int64_t kFewestChannels = 4;
  const auto all = [](const std::int64_t(&values)[3], std::int64_t wanted) {
    return std::ranges::all_of(values, [&](std::int64_t value) { return value == wanted; });
  };
  if (s.transpose || s.group != 1 || s.in_channels < kFewestChannels || !all(s.window, 1) ||
      !all(s.stride, 1) || !all(s.pad_begin, 0) || !all(s.pad_end, 0) ||
      !std::ranges::equal(s.in, s.out) || s.dtype == MINIINFER_FLOAT64 ||
      s.batch > std::numeric_limits<std::int32_t>::max()) {
    return std::nullopt;
  }
  const ConvDims dims = conv_dims(s);
  if (!has_layout(dims.w, s.w_strides, ConvLayout::kRowMajor)) return std::nullopt;
  const auto laid_out = [&](ConvLayout layout) {
    return has_layout(dims.x, s.x_strides, layout) && has_layout(dims.y, s.y_strides, layout);
  };
  const std::int64_t places = s.in[0] * s.in[1] * s.in[2];
  const std::int64_t in = s.in_channels, out = s.out_channels;
  ContractStrides product{};
  product.k = in;
  const bool channels_last = laid_out(ConvLayout::kChannelsLast);
  if (channels_last) {
    product.m = s.batch * places;
    product.n = out;
    product.a_row = product.b_column = in;
    product.a_column = product.b_row = product.out_column = 1;
    product.out_row = out;
  } else if (laid_out(ConvLayout::kRowMajor)) {
    product.m = out;
    product.n = places;
    product.a_row = in;
    product.b_row = product.out_row = places;
    product.a_column = product.b_column = product.out_column = 1;
    const std::int64_t steps[] = {0, in * places, out * places};
    product.batch.push(s.batch, steps);
  } else {
    return std::nullopt;
  }
  const auto calls = contract_calls(product);
  if (!calls) return std::nullopt;
  return ConvProduct{*calls, channels_last};
}

}  // namespace miniinfer::cuda
