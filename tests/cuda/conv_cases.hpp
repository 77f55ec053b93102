#pragma once

// Convolutions of many shapes, and the definition to compare them with.

#include <cmath>
#include <cstdint>
#include <vector>

#include "miniinfer/abi/op/conv.h"
#include "tests/cpu/random_data.hpp"
#include "tests/cuda/epilogue_program.hpp"

namespace miniinfer::test {

struct ConvCase {
  std::int64_t batch, group, in_channels, out_channels;  // of a group
  Dims in, window, stride, dilation, begin, end;

  Dims out(bool transpose) const {
    Dims dims;
    for (std::size_t i = 0; i < in.size(); ++i) {
      const std::int64_t reach = (window[i] - 1) * dilation[i] + 1;
      dims.push_back(transpose ? (in[i] - 1) * stride[i] + reach - begin[i] - end[i]
                               : (in[i] + begin[i] + end[i] - reach) / stride[i] + 1);
    }
    return dims;
  }
};

inline const std::vector<ConvCase> kConvCases = {
    {2, 1, 3, 5, {7, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {1, 1, 4, 4, {8, 9}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {1, 1, 3, 8, {11, 12}, {7, 7}, {2, 2}, {1, 1}, {3, 3}, {3, 3}},
    {1, 2, 3, 2, {6, 7}, {3, 2}, {2, 1}, {1, 1}, {0, 1}, {1, 0}},
    {2, 1, 2, 3, {9, 8}, {3, 3}, {2, 2}, {2, 1}, {0, 2}, {1, 0}},
    {1, 1, 2, 3, {13}, {3}, {2}, {1}, {1}, {2}},
    {1, 1, 2, 3, {4, 5, 6}, {2, 3, 2}, {1, 2, 1}, {2, 1, 1}, {1, 1, 0}, {1, 1, 1}},
    {1, 1, 2, 2, {5, 5}, {5, 5}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {1, 1, 1, 1, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {2, 6, 1, 1, {9, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {1, 5, 1, 1, {9, 11}, {3, 3}, {2, 2}, {1, 1}, {0, 1}, {1, 1}},
    {1, 4, 1, 1, {8, 7}, {5, 5}, {1, 1}, {1, 1}, {2, 2}, {2, 2}},
    {1, 4, 1, 1, {8, 7}, {5, 5}, {2, 2}, {1, 1}, {2, 2}, {1, 2}},
    {1, 3, 1, 1, {6, 6}, {3, 3}, {1, 1}, {2, 2}, {2, 2}, {2, 2}},
    {1, 3, 1, 2, {6, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
};

// What stands around a convolution in a region.
struct ConvTail {
  bool bias = false;
  bool residual = false;
  bool relu = false;
  bool relu6 = false;
  bool sigmoid = false;  // which no library's call ends with

  bool clips() const { return relu || relu6; }
};

// Windows of 1, and what follows them: planes of 49 elements leave no two of them equally aligned.
inline const std::vector<ConvCase> kPointCases = {
    {1, 1, 5, 6, {7, 7}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {3, 1, 8, 8, {7, 7}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {3, 1, 16, 24, {4, 8}, {1, 1}, {1, 1}, {2, 2}, {0, 0}, {0, 0}},
    {3, 1, 8, 16, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {1, 1, 8, 16, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {2, 1, 4, 1, {3, 5}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {2, 1, 4, 3, {13}, {1}, {1}, {1}, {0}, {0}},
    {2, 1, 4, 3, {2, 3, 4}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}},
};
inline constexpr ConvTail kPointTails[] = {
    {},
    {.bias = true},
    {.relu = true},
    {.residual = true},
    {.relu6 = true},
    {.bias = true, .relu = true},
    {.bias = true, .relu6 = true},
    {.bias = true, .residual = true},
    {.residual = true, .relu = true},
    {.bias = true, .residual = true, .relu = true},
    {.bias = true, .sigmoid = true},
};
inline constexpr int kProductFloats[] = {MINIINFER_FLOAT32, MINIINFER_FLOAT16, MINIINFER_BFLOAT16};

// A region [conv, pointwise] with random operands: x, w, bias where wanted, residual where wanted.
struct ConvRegion {
  ConvRegion(Random& random, const ConvCase& c, int type, bool transposed, ConvTail wanted,
             bool channels_last = false, bool constant_weights = false)
      : shape(c),
        dtype(type),
        transpose(transposed),
        tail(wanted),
        last(channels_last),
        last_weights(channels_last && !constant_weights) {
    attrs.spatial_rank = static_cast<std::int32_t>(c.in.size());
    attrs.group = static_cast<std::int32_t>(c.group);
    for (std::size_t i = 0; i < c.in.size(); ++i) {
      attrs.stride[i] = c.stride[i];
      attrs.dilation[i] = c.dilation[i];
      attrs.pad_begin[i] = c.begin[i];
      attrs.pad_end[i] = c.end[i];
    }
    const auto dims = [](std::int64_t first, std::int64_t second, const Dims& rest) {
      Dims all = {first, second};
      all.insert(all.end(), rest.begin(), rest.end());
      return all;
    };
    const std::int64_t in = c.group * c.in_channels, out = c.group * c.out_channels;
    y_dims = dims(c.batch, out, c.out(transpose));
    const Dims w_dims =
        transpose ? dims(in, c.out_channels, c.window) : dims(out, c.in_channels, c.window);
    std::vector<std::uint32_t> operands = {input(random, dims(c.batch, in, c.in)),
                                           input(random, w_dims, last_weights)};
    if (constant_weights) builder[operands[1]].flags = MINIINFER_VALUE_CONSTANT;
    if (tail.bias) operands.push_back(input(random, {out}));
    const char* op = transpose ? MINIINFER_CONV_TRANSPOSE : MINIINFER_CONV;
    if (!tail.residual && !tail.clips() && !tail.sigmoid) {
      builder.node(op, &attrs, operands, {builder.output(dtype, y_dims, strides(y_dims))});
      return;
    }
    const auto inside = builder.value(dtype, y_dims, strides(y_dims));
    builder.node(op, &attrs, operands, {inside});
    std::vector<std::uint32_t> pointwise = {inside};
    std::uint16_t value = 0;
    if (tail.residual) {
      pointwise.push_back(input(random, y_dims));
      value = program(1).step(MINIINFER_PW_ADD, 0, 1);
    }
    EpilogueProgram& code = program(tail.residual ? 1 : 0);
    if (tail.clips()) value = code.step(MINIINFER_PW_MAX, value, code.constant(0));
    if (tail.relu6) value = code.step(MINIINFER_PW_MIN, value, code.constant(1));
    if (tail.sigmoid) code.step(MINIINFER_PW_SIGMOID, value);
    builder.node(MINIINFER_POINTWISE, &code.attrs(), pointwise,
                 {builder.output(dtype, y_dims, strides(y_dims))});
  }

  // By the definition, in double: every pair of an input element and a weight, added where it
  // belongs.
  std::vector<std::byte> reference() const {
    const auto spread = [](const Dims& dims, std::int64_t fill) {
      Dims all(3, fill);
      std::copy(dims.begin(), dims.end(), all.end() - static_cast<std::ptrdiff_t>(dims.size()));
      return all;
    };
    const Dims in = spread(shape.in, 1), out = spread(shape.out(transpose), 1);
    const Dims window = spread(shape.window, 1), stride = spread(shape.stride, 1);
    const Dims dilation = spread(shape.dilation, 1), begin = spread(shape.begin, 0);
    const auto volume = [](const Dims& d) { return d[0] * d[1] * d[2]; };
    const std::int64_t channels = shape.group * shape.out_channels;
    std::vector<double> y(static_cast<std::size_t>(shape.batch * channels * volume(out)));
    const auto at_y = [&](std::int64_t n, std::int64_t c, std::int64_t p) {
      return last ? (n * volume(out) + p) * channels + c : (n * channels + c) * volume(out) + p;
    };
    const auto at_x = [&](std::int64_t n, std::int64_t c, std::int64_t p) {
      const std::int64_t all = shape.group * shape.in_channels;
      return last ? (n * volume(in) + p) * all + c : (n * all + c) * volume(in) + p;
    };
    const auto at_w = [&](std::int64_t row, std::int64_t column, std::int64_t tap) {
      const std::int64_t columns = transpose ? shape.out_channels : shape.in_channels;
      return last_weights ? (row * volume(window) + tap) * columns + column
                          : (row * columns + column) * volume(window) + tap;
    };
    for (std::int64_t n = 0; n < shape.batch; ++n) {
      for (std::int64_t c = 0; c < channels; ++c) {
        for (std::int64_t p = 0; p < volume(out); ++p) {
          const std::int64_t at = at_y(n, c, p);
          if (tail.bias) y[static_cast<std::size_t>(at)] += element(2, c);
          if (tail.residual) y[static_cast<std::size_t>(at)] += element(data.size() - 1, at);
        }
      }
    }
    const Dims& small = transpose ? in : out;
    const Dims& large = transpose ? out : in;
    for (std::int64_t n = 0; n < shape.batch; ++n) {
      for (std::int64_t o = 0; o < channels; ++o) {
        const std::int64_t group = o / shape.out_channels;
        for (std::int64_t i = 0; i < shape.in_channels; ++i) {
          const std::int64_t c = group * shape.in_channels + i;
          for (std::int64_t tap = 0; tap < volume(window); ++tap) {
            const Dims t = {tap / (window[1] * window[2]), tap / window[2] % window[1],
                            tap % window[2]};
            const double weight =
                element(1, transpose ? at_w(c, o % shape.out_channels, tap) : at_w(o, i, tap));
            for (std::int64_t p = 0; p < volume(small); ++p) {
              const Dims place = {p / (small[1] * small[2]), p / small[2] % small[1], p % small[2]};
              std::int64_t q = 0;
              bool inside = true;
              for (std::size_t axis = 0; axis < 3; ++axis) {
                const std::int64_t z =
                    place[axis] * stride[axis] + t[axis] * dilation[axis] - begin[axis];
                inside = inside && z >= 0 && z < large[axis];
                q = q * large[axis] + z;
              }
              if (!inside) continue;
              y[static_cast<std::size_t>(at_y(n, o, transpose ? q : p))] +=
                  element(0, at_x(n, c, transpose ? p : q)) * weight;
            }
          }
        }
      }
    }
    return sdk::reference::with_type(dtype, [&](auto type) {
      using S = typename decltype(type)::Stored;
      std::vector<std::byte> bytes(y.size() * sizeof(S));
      if constexpr (sdk::reference::kIsFloat<S>) {
        for (std::size_t i = 0; i < y.size(); ++i) {
          double value = tail.clips() && y[i] < 0 ? 0 : y[i];
          if (tail.relu6 && value > 6) value = 6;
          if (tail.sigmoid) value = 1 / (1 + std::exp(-value));
          sdk::reference::store<S>(bytes.data() + i * sizeof(S), value);
        }
      }
      return bytes;
    });
  }

  ConvCase shape;
  int dtype;
  bool transpose;
  ConvTail tail;
  bool last;          // channels are the innermost axis of x and y
  bool last_weights;  // and of the weights
  Dims y_dims;
  RegionBuilder builder;
  miniinfer_conv_attrs attrs{};
  std::vector<std::vector<std::byte>> data;

 private:
  Dims strides(const Dims& dims) const {
    if (!last || dims.size() < 3) return {};
    Dims all(dims.size());
    std::int64_t step = dims[1];
    all[1] = 1;
    for (std::size_t axis = dims.size(); axis-- > 2; step *= dims[axis]) all[axis] = step;
    all[0] = step;
    return all;
  }
  std::uint32_t input(Random& random, const Dims& dims, bool as_y = true) {
    data.push_back(random_elements(random, dtype, count_of(dims), false));
    return builder.input(dtype, dims, as_y ? strides(dims) : Dims{});
  }
  EpilogueProgram& program(std::uint32_t residuals) {
    if (program_.empty()) program_.emplace_back(dtype, 1 + residuals, std::vector<double>{0, 6});
    return program_[0];
  }
  double element(std::size_t operand, std::int64_t index) const {
    return sdk::reference::with_type(dtype, [&](auto type) {
      using S = typename decltype(type)::Stored;
      return static_cast<double>(sdk::reference::load<S>(
          data[operand].data() + static_cast<std::size_t>(index) * sizeof(S)));
    });
  }

  std::vector<EpilogueProgram> program_;
};

}  // namespace miniinfer::test
