// Conv and ConvTranspose.

#include <algorithm>

#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"
#include "core/ops/window.hpp"
#include "miniinfer/abi/op/conv.h"

namespace miniinfer {
namespace {

using Spatial = std::span<const std::int64_t>;

Spatial spatial(const Shape& shape) { return Spatial(shape).subspan(2); }

// The window's size, by the weights or by the attribute; they must agree.
Result<Shape> kernel_size(const Attributes& attributes, const std::optional<Shape>& weights) {
  const auto given = attributes.get_ints("kernel_shape");
  if (!weights) return given ? Shape(given->begin(), given->end()) : Shape();
  Shape kernel(weights->begin() + 2, weights->end());
  if (!given || given->empty()) return kernel;
  if (given->size() != kernel.size()) {
    return invalid("kernel_shape has %zu numbers, the weights %s", given->size(),
                   to_string(*weights).c_str());
  }
  for (std::size_t i = 0; i < kernel.size(); ++i) {
    if (kernel[i] == -1) kernel[i] = (*given)[i];
    if (kernel[i] != (*given)[i]) {
      return invalid("kernel_shape is %s, the weights are %s",
                     to_string(Shape(given->begin(), given->end())).c_str(),
                     to_string(*weights).c_str());
    }
  }
  return kernel;
}

Status check_operands(const InferContext& context, std::int64_t group, std::int64_t channels,
                      std::int64_t filter_channels, std::int64_t outputs, std::int64_t groups_in) {
  if (group < 1) return invalid("group is %lld", static_cast<long long>(group));
  if (channels >= 0 && filter_channels >= 0 && channels != filter_channels) {
    return invalid("the input %s has %lld channels, the weights %s take %lld",
                   to_string(*context.shape(0)).c_str(), static_cast<long long>(channels),
                   to_string(*context.shape(1)).c_str(), static_cast<long long>(filter_channels));
  }
  if (groups_in >= 0 && groups_in % group != 0) {
    return invalid("%lld channels in %lld groups", static_cast<long long>(groups_in),
                   static_cast<long long>(group));
  }
  const std::optional<Shape>& bias = context.shape(2);
  if (is_concrete(bias) && (bias->size() != 1 || (outputs >= 0 && (*bias)[0] != outputs))) {
    return invalid("the bias is %s for %lld output channels", to_string(*bias).c_str(),
                   static_cast<long long>(outputs));
  }
  return {};
}

std::int64_t times(std::int64_t size, std::int64_t group) {
  return size < 0 || group >= (std::int64_t{1} << 31) || size >= (std::int64_t{1} << 31)
             ? -1
             : size * group;
}

// The output's spatial sizes; pads that were left to us are put into the window.
template <bool kTransposed>
Result<Shape> place(Window& window, const Attributes& attributes, const Shape& in) {
  return kTransposed ? place_transposed_window(window, attributes, spatial(in))
                     : place_window(window, attributes, spatial(in), false);
}

template <bool kTransposed>
Status infer_conv(InferContext& context) {
  if (Status status = check_type(context, 0, TypeRule::Float); !status.ok()) return status;
  Result<DataType> type = common_type(context, 0, std::min<std::size_t>(context.input_count(), 3));
  if (!type) return type.status();
  const Attributes& attributes = context.attributes();
  const std::optional<Shape>& in = context.shape(0);
  const std::optional<Shape>& weights = context.shape(1);
  for (std::size_t i = 0; i < 2; ++i) {
    const std::optional<Shape>& shape = context.shape(i);
    if (shape && shape->size() < 3) {
      return invalid("input %zu is of rank %zu; it has at least 3 axes", i, shape->size());
    }
  }
  if (!in) return context.set(0, *type, std::nullopt);
  Shape out(in->size(), -1);
  out[0] = (*in)[0];
  const std::int64_t group = attributes.get_int("group", 1);
  if (weights) {
    if (weights->size() != in->size()) {
      return invalid("the input is of rank %zu, the weights of rank %zu", in->size(),
                     weights->size());
    }
    const std::int64_t inner = times((*weights)[1], std::max<std::int64_t>(group, 1));
    out[1] = kTransposed ? inner : (*weights)[0];
    Status status = check_operands(context, group, (*in)[1], kTransposed ? (*weights)[0] : inner,
                                   out[1], kTransposed ? (*in)[1] : (*weights)[0]);
    if (!status.ok()) return status;
  }
  Result<Shape> kernel = kernel_size(attributes, weights);
  if (!kernel) return kernel.status();
  if (!kernel->empty() && is_concrete(*kernel)) {
    Result<Window> window = read_window(attributes, *kernel);
    if (!window) return window.status();
    Result<Shape> sizes = place<kTransposed>(*window, attributes, *in);
    if (!sizes) return sizes.status();
    std::copy(sizes->begin(), sizes->end(), out.begin() + 2);
  }
  return context.set(0, *type, std::move(out));
}

template <bool kTransposed>
Status lower_conv(LowerContext& context) {
  const Attributes& attributes = context.attributes();
  const Shape& in = context.shape(0);
  const Shape& weights = context.shape(1);
  const std::size_t rank = in.size() - 2;
  if (rank > MINIINFER_MAX_SPATIAL) {
    return unsupported("convolution along %zu axes; the most is %d", rank, MINIINFER_MAX_SPATIAL);
  }
  Result<Window> window = read_window(attributes, Shape(weights.begin() + 2, weights.end()));
  if (!window) return window.status();
  const Result<Shape> sizes = place<kTransposed>(*window, attributes, in);
  if (!sizes) return sizes.status();
  const std::int64_t group = attributes.get_int("group", 1);
  if (group >= (std::int64_t{1} << 31)) return invalid("more groups than channels");
  miniinfer_conv_attrs attrs{};
  attrs.spatial_rank = static_cast<std::int32_t>(rank);
  attrs.group = static_cast<std::int32_t>(group);
  for (std::size_t i = 0; i < rank; ++i) {
    attrs.stride[i] = window->stride[i];
    attrs.dilation[i] = window->dilation[i];
    attrs.pad_begin[i] = window->pad_begin[i];
    attrs.pad_end[i] = window->pad_end[i];
  }
  std::vector<ValueId> inputs = {context.in(0), context.in(1)};
  if (context.has_input(2)) inputs.push_back(context.in(2));
  context.set_output(
      0, context.emit(kTransposed ? MINIINFER_CONV_TRANSPOSE : MINIINFER_CONV, make_attrs(attrs),
                      std::move(inputs), context.out_dtype(0), context.out_shape(0)));
  return {};
}

const Operator kTable[] = {
    {.name = "Conv",
     .since = 1,
     .min_inputs = 2,
     .max_inputs = 3,
     .attributes = {{"auto_pad", AttributeSpec::String},
                    {"dilations", AttributeSpec::Ints},
                    {"group", AttributeSpec::Int},
                    {"kernel_shape", AttributeSpec::Ints},
                    {"pads", AttributeSpec::Ints},
                    {"strides", AttributeSpec::Ints}},
     .infer = infer_conv<false>,
     .lower = lower_conv<false>},
    {.name = "ConvTranspose",
     .since = 1,
     .min_inputs = 2,
     .max_inputs = 3,
     .attributes = {{"auto_pad", AttributeSpec::String},
                    {"dilations", AttributeSpec::Ints},
                    {"group", AttributeSpec::Int},
                    {"kernel_shape", AttributeSpec::Ints},
                    {"output_padding", AttributeSpec::Ints},
                    {"output_shape", AttributeSpec::Ints},
                    {"pads", AttributeSpec::Ints},
                    {"strides", AttributeSpec::Ints}},
     .infer = infer_conv<true>,
     .lower = lower_conv<true>},
};

}  // namespace

const OperatorTable kConvOperators = kTable;

}  // namespace miniinfer
