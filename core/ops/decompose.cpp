#include "core/ops/decompose.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <span>

#include "core/ops/kernel_attrs.hpp"
#include "core/ops/rules.hpp"
#include "miniinfer/abi/op/attention.h"
#include "miniinfer/abi/op/contract.h"
#include "miniinfer/abi/op/conv.h"
#include "miniinfer/abi/op/norm.h"
#include "miniinfer/abi/op/reduce.h"

namespace miniinfer {
namespace {

// Adds kernel nodes that stand for one of the graph.
class Parts {
 public:
  Parts(Graph& graph, NodeId node) : graph_(graph), origin_(graph.node(node).origin) {}

  ValueId emit(const char* op, KernelAttrsPtr attrs, std::vector<ValueId> inputs, DataType dtype,
               Shape shape) {
    Node node;
    node.op = op;
    node.kernel = std::move(attrs);
    node.inputs = std::move(inputs);
    node.origin = origin_;
    const ValueId made = graph_.add_value({}, dtype, std::move(shape));
    node.outputs = {made};
    graph_.add_node(std::move(node));
    return made;
  }
  ValueId view(ValueId value, Shape shape) {
    if (*graph_.value(value).shape == shape) return value;
    return emit("view", nullptr, {value}, graph_.value(value).dtype, std::move(shape));
  }
  ValueId binary(std::uint16_t opcode, ValueId a, ValueId b, DataType dtype, Shape shape) {
    PointwiseBuilder program(2);
    const auto made = program.emit(opcode, dtype, program.input(0), program.input(1));
    return emit(MINIINFER_POINTWISE, program.finish({made}), {a, b}, dtype, std::move(shape));
  }
  ValueId unary(std::uint16_t opcode, ValueId a, DataType dtype, Shape shape) {
    PointwiseBuilder program(1);
    const auto made = program.emit(opcode, dtype, program.input(0));
    return emit(MINIINFER_POINTWISE, program.finish({made}), {a}, dtype, std::move(shape));
  }
  ValueId cast(ValueId a, DataType dtype) {
    if (graph_.value(a).dtype == dtype) return a;
    return unary(MINIINFER_PW_CAST, a, dtype, *graph_.value(a).shape);
  }
  // Over axes [first, last), kept with size 1.
  ValueId reduce(int kind, ValueId x, std::size_t first, std::size_t last) {
    Shape shape = *graph_.value(x).shape;
    miniinfer_reduce_attrs attrs{};
    attrs.kind = kind;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      const bool reduced = axis >= first && axis < last;
      attrs.window[axis] = reduced ? shape[axis] : 1;
      attrs.stride[axis] = attrs.dilation[axis] = 1;
      if (reduced) shape[axis] = 1;
    }
    return emit(MINIINFER_REDUCE, make_attrs(attrs), {x}, graph_.value(x).dtype, std::move(shape));
  }

 private:
  Graph& graph_;
  Origin origin_;
};

DataType wide(DataType dtype) { return dtype == DataType::Float64 ? dtype : DataType::Float32; }

ValueId softmax(Graph& graph, const Node& node, Parts& parts) {
  const auto& attrs = *static_cast<const miniinfer_softmax_attrs*>(node.kernel->abi());
  const auto axis = static_cast<std::size_t>(attrs.axis);
  const DataType dtype = graph.value(node.inputs[0]).dtype;
  const DataType compute = wide(dtype);
  const Shape shape = *graph.value(node.inputs[0]).shape;
  const ValueId x = parts.cast(node.inputs[0], compute);
  const ValueId most = parts.reduce(MINIINFER_REDUCE_MAX, x, axis, axis + 1);
  const ValueId shifted = parts.binary(MINIINFER_PW_SUB, x, most, compute, shape);
  const ValueId powers = parts.unary(MINIINFER_PW_EXP, shifted, compute, shape);
  const ValueId sum = parts.reduce(MINIINFER_REDUCE_SUM, powers, axis, axis + 1);
  if (attrs.logarithm == 0) {
    return parts.cast(parts.binary(MINIINFER_PW_DIV, powers, sum, compute, shape), dtype);
  }
  const ValueId logarithm = parts.unary(MINIINFER_PW_LOG, sum, compute, *graph.value(sum).shape);
  return parts.cast(parts.binary(MINIINFER_PW_SUB, shifted, logarithm, compute, shape), dtype);
}

ValueId layer_norm(Graph& graph, const Node& node, Parts& parts) {
  const auto& attrs = *static_cast<const miniinfer_layer_norm_attrs*>(node.kernel->abi());
  if (node.outputs.size() > 1) return kNoValue;
  const DataType dtype = graph.value(node.inputs[0]).dtype;
  const DataType compute = wide(dtype);
  const Shape shape = *graph.value(node.inputs[0]).shape;
  const auto axis = static_cast<std::size_t>(attrs.axis);
  ValueId x = parts.cast(node.inputs[0], compute);
  if (attrs.rms == 0) {
    const ValueId mean = parts.reduce(MINIINFER_REDUCE_MEAN, x, axis, shape.size());
    x = parts.binary(MINIINFER_PW_SUB, x, mean, compute, shape);
  }
  const ValueId squares = parts.binary(MINIINFER_PW_MUL, x, x, compute, shape);
  const ValueId variance = parts.reduce(MINIINFER_REDUCE_MEAN, squares, axis, shape.size());

  // x / sqrt(variance + epsilon) * scale + bias, in one program.
  const bool has_bias = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
  PointwiseBuilder p(has_bias ? 4 : 3);
  const auto widened = [&](std::uint32_t i, ValueId value) {
    const bool narrow = graph.value(value).dtype != compute;
    return narrow ? p.emit(MINIINFER_PW_CAST, compute, p.input(i)) : p.input(i);
  };
  const auto sum =
      p.emit(MINIINFER_PW_ADD, compute, p.input(1), p.constant(compute, attrs.epsilon));
  const auto deviation = p.emit(MINIINFER_PW_SQRT, compute, sum);
  auto y = p.emit(MINIINFER_PW_DIV, compute, p.input(0), deviation);
  y = p.emit(MINIINFER_PW_MUL, compute, y, widened(2, node.inputs[1]));
  if (has_bias) y = p.emit(MINIINFER_PW_ADD, compute, y, widened(3, node.inputs[2]));
  if (dtype != compute) y = p.emit(MINIINFER_PW_CAST, dtype, y);
  std::vector<ValueId> inputs = {x, variance};
  for (std::size_t i = 1; i < node.inputs.size() && node.inputs[i] != kNoValue; ++i) {
    Shape aligned(shape.size(), 1);
    const Shape& own = *graph.value(node.inputs[i]).shape;
    std::copy(own.begin(), own.end(), aligned.end() - static_cast<std::ptrdiff_t>(own.size()));
    inputs.push_back(parts.view(node.inputs[i], aligned));
  }
  return parts.emit(MINIINFER_POINTWISE, p.finish({y}), inputs, dtype, shape);
}

// What the windows of a convolution may take: one region a tap, and bytes that can be counted.
bool windows_fit(const Shape& x, const Shape& w, const Shape& out, DataType dtype) {
  constexpr std::uint64_t kMostTaps = 65536;
  const Result<std::uint64_t> taps = element_count(Shape(w.begin() + 2, w.end()));
  if (!taps || *taps > kMostTaps) return false;
  Shape all(out);
  all[0] = x[0];
  all[1] = x[1];
  all.push_back(static_cast<std::int64_t>(*taps));
  return byte_count(dtype, all).ok();
}

// The windows of one convolution input as a copy: out[n, group, channel, tap.., place..], zero
// where a tap lies in the padding. One region for each tap, cut to the places where it meets the
// input.
ValueId conv_windows(Graph& graph, const Node& node, Parts& parts, const Shape& out) {
  const auto& attrs = *static_cast<const miniinfer_conv_attrs*>(node.kernel->abi());
  const Shape& x = *graph.value(node.inputs[0]).shape;
  const Shape& w = *graph.value(node.inputs[1]).shape;
  const auto rank = static_cast<std::size_t>(attrs.spatial_rank);
  const Shape in_strides = row_major_strides(x);
  const std::int64_t taps = product(w, 2, w.size());
  const std::int64_t places = product(out, 2, out.size());
  std::vector<miniinfer_copy_region> regions;
  for (std::int64_t tap = 0; tap < taps; ++tap) {
    miniinfer_copy_region region{};
    region.head = {sizeof region, MINIINFER_ABI_MINOR};
    region.rank = static_cast<std::int32_t>(2 + rank);
    region.dims[0] = x[0];
    region.dims[1] = x[1];
    region.src_strides[0] = in_strides[0];
    region.src_strides[1] = in_strides[1];
    region.dst_strides[0] = x[1] * taps * places;
    region.dst_strides[1] = taps * places;
    region.dst_offset = tap * places;
    std::int64_t rest = tap;
    std::int64_t place_stride = 1;
    bool meets = true;
    for (std::size_t i = rank; i-- > 0;) {
      const std::int64_t at = rest % w[2 + i] * attrs.dilation[i] - attrs.pad_begin[i];
      rest /= w[2 + i];
      // Places p with 0 <= p * stride + at < size.
      const std::int64_t stride = attrs.stride[i];
      const std::int64_t first = at >= 0 ? 0 : (-at + stride - 1) / stride;
      const std::int64_t room = x[2 + i] - 1 - at;
      const std::int64_t last = room < 0 ? -1 : std::min(room / stride, out[2 + i] - 1);
      meets = meets && last >= first;
      region.dims[2 + i] = last - first + 1;
      region.src_strides[2 + i] = stride * in_strides[2 + i];
      region.dst_strides[2 + i] = place_stride;
      region.src_offset += (first * stride + at) * in_strides[2 + i];
      region.dst_offset += first * place_stride;
      place_stride *= out[2 + i];
    }
    if (meets) regions.push_back(region);
  }
  return parts.emit(MINIINFER_COPY, std::make_shared<CopyRegions>(std::move(regions), 0),
                    {node.inputs[0]}, graph.value(node.inputs[0]).dtype,
                    {x[0], x[1] * taps, places});
}

ValueId conv(Graph& graph, const Node& node, Parts& parts) {
  const auto& attrs = *static_cast<const miniinfer_conv_attrs*>(node.kernel->abi());
  const DataType dtype = graph.value(node.inputs[0]).dtype;
  const Shape x = *graph.value(node.inputs[0]).shape;
  const Shape w = *graph.value(node.inputs[1]).shape;
  const Shape out = *graph.value(node.outputs[0]).shape;
  if (!windows_fit(x, w, out, dtype)) return kNoValue;
  const std::int64_t group = attrs.group;
  const std::int64_t inner = product(w, 1, w.size());
  const std::int64_t places = product(out, 2, out.size());
  const ValueId windows = conv_windows(graph, node, parts, out);
  const ValueId left = parts.view(node.inputs[1], {1, group, w[0] / group, inner});
  const ValueId right = parts.view(windows, {x[0], group, inner, places});
  ValueId y = parts.emit(MINIINFER_CONTRACT, make_attrs(miniinfer_contract_attrs{}), {left, right},
                         dtype, {x[0], group, w[0] / group, places});
  y = parts.view(y, out);
  if (node.inputs.size() < 3 || node.inputs[2] == kNoValue) return y;
  Shape channel(out.size(), 1);
  channel[1] = out[1];
  return parts.binary(MINIINFER_PW_ADD, y, parts.view(node.inputs[2], channel), dtype, out);
}

// first, first + 1, .. along `axis` of four.
ValueId positions(Graph& graph, std::int64_t first, std::int64_t count, std::size_t axis) {
  std::vector<std::int64_t> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), first);
  Shape shape = {1, 1, 1, 1};
  shape[axis] = count;
  return graph.add_constant(
      make_constant({DataType::Int64, std::move(shape)}, std::as_bytes(std::span(values))));
}

// Heads that share a group of k and v are more rows of one product.
ValueId attention(Graph& graph, const Node& node, Parts& parts) {
  const auto& attrs = *static_cast<const miniinfer_attention_attrs*>(node.kernel->abi());
  const Shape q = *graph.value(node.inputs[0]).shape;
  const Shape k = *graph.value(node.inputs[1]).shape;
  const Shape v = *graph.value(node.inputs[2]).shape;
  const DataType dtype = graph.value(node.inputs[0]).dtype;
  const DataType compute = wide(dtype);
  const std::int64_t pairs = k[0] * k[1], rows = q[1] / k[1] * q[2], keys = k[2];
  miniinfer_contract_attrs transposed{};
  transposed.transpose_b = 1;
  ValueId x = parts.emit(MINIINFER_CONTRACT, make_attrs(transposed),
                         {parts.view(node.inputs[0], {pairs, rows, q[3]}),
                          parts.view(node.inputs[1], {pairs, keys, k[3]})},
                         dtype, {pairs, rows, keys});
  const Shape scores = {q[0], q[1], q[2], keys};
  std::vector<ValueId> inputs = {parts.view(x, scores)};
  const bool has_mask = node.inputs.size() > 3 && node.inputs[3] != kNoValue;
  const bool causal = (attrs.flags & MINIINFER_ATTENTION_CAUSAL) != 0;
  if (has_mask) inputs.push_back(node.inputs[3]);
  if (causal) {
    const std::int64_t past = std::clamp(attrs.past, -q[2], keys);
    inputs.push_back(positions(graph, past, q[2], 2));
    inputs.push_back(positions(graph, 0, keys, 3));
  }
  PointwiseBuilder p(static_cast<std::uint32_t>(inputs.size()));
  const auto widened = [&](std::uint32_t i) {
    return dtype == compute ? p.input(i) : p.emit(MINIINFER_PW_CAST, compute, p.input(i));
  };
  auto score = p.emit(MINIINFER_PW_MUL, compute, widened(0),
                      p.constant(compute, static_cast<double>(attrs.scale)));
  if (has_mask) score = p.emit(MINIINFER_PW_ADD, compute, score, widened(1));
  if (causal) {
    const std::uint32_t first = has_mask ? 2 : 1;
    const auto meets =
        p.emit(MINIINFER_PW_LESS_EQUAL, DataType::Int64, p.input(first + 1), p.input(first));
    score = p.emit(MINIINFER_PW_SELECT, compute, meets, score,
                   p.constant(compute, -std::numeric_limits<double>::infinity()));
  }
  if (dtype != compute) score = p.emit(MINIINFER_PW_CAST, dtype, score);
  x = parts.emit(MINIINFER_POINTWISE, p.finish({score}), inputs, dtype, scores);

  const Shape flat = {pairs * rows, keys};
  miniinfer_softmax_attrs softmax{};
  softmax.axis = 1;
  x = parts.emit(MINIINFER_SOFTMAX, make_attrs(softmax), {parts.view(x, flat)}, dtype, flat);
  if ((attrs.flags & MINIINFER_ATTENTION_NAN_TO_ZERO) != 0) {
    PointwiseBuilder zero(1);
    const auto is_nan = zero.emit(MINIINFER_PW_IS_NAN, dtype, zero.input(0));
    const auto kept =
        zero.emit(MINIINFER_PW_SELECT, dtype, is_nan, zero.constant(dtype, 0), zero.input(0));
    x = parts.emit(MINIINFER_POINTWISE, zero.finish({kept}), {x}, dtype, flat);
  }
  x = parts.emit(
      MINIINFER_CONTRACT, make_attrs(miniinfer_contract_attrs{}),
      {parts.view(x, {pairs, rows, keys}), parts.view(node.inputs[2], {pairs, keys, v[3]})}, dtype,
      {pairs, rows, v[3]});
  return parts.view(x, {q[0], q[1], q[2], v[3]});
}

struct Rule {
  const char* op;
  ValueId (*apply)(Graph& graph, const Node& node, Parts& parts);  // kNoValue: not this one
};

constexpr Rule kRules[] = {
    {MINIINFER_ATTENTION, attention},
    {MINIINFER_SOFTMAX, softmax},
    {MINIINFER_LAYER_NORM, layer_norm},
    {MINIINFER_CONV, conv},
};

}  // namespace

bool decompose(Graph& graph, NodeId id) {
  const auto rule = std::find_if(std::begin(kRules), std::end(kRules),
                                 [&](const Rule& r) { return graph.node(id).op == r.op; });
  if (rule == std::end(kRules)) return false;
  const Node node = graph.node(id);
  Parts parts(graph, id);
  const ValueId made = rule->apply(graph, node, parts);
  if (made == kNoValue) return false;
  graph.replace_uses(node.outputs[0], made);
  graph.remove_node(id);
  return true;
}

}  // namespace miniinfer
