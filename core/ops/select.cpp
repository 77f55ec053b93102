// Operators that choose by value: TopK, NonZero, NonMaxSuppression; and CumSum.

#include <algorithm>
#include <cmath>

#include "core/ops/families.hpp"
#include "core/ops/lowering_reduce.hpp"
#include "miniinfer/abi/op/select.h"

namespace miniinfer {
namespace {

Status infer_top_k(InferContext& context) {
  if (!context.shape(0)) {
    if (Status status = context.set(0, context.dtype(0), std::nullopt); !status.ok()) return status;
    return context.set(1, DataType::Int64, std::nullopt);
  }
  Shape out = *context.shape(0);
  Result<std::int64_t> axis = normalise_axis(context.attributes().get_int("axis", -1), out.size());
  if (!axis) return axis.status();
  Result<std::optional<std::vector<std::int64_t>>> k = host_ints(context, 1);
  if (!k) return k.status();
  std::int64_t& size = out[static_cast<std::size_t>(*axis)];
  if (!*k) {
    size = -1;
  } else {
    if ((*k)->size() != 1) return invalid("k has %zu elements", (*k)->size());
    const std::int64_t wanted = (*k)->front();
    if (wanted < 0 || (size >= 0 && wanted > size)) {
      return invalid("k is %lld for an axis of %lld", static_cast<long long>(wanted),
                     static_cast<long long>(size));
    }
    size = wanted;
  }
  if (Status status = context.set(0, context.dtype(0), out); !status.ok()) return status;
  return context.set(1, DataType::Int64, std::move(out));
}

Status lower_top_k(LowerContext& context) {
  const Shape& in = context.shape(0);
  Result<std::int64_t> axis = normalise_axis(context.attributes().get_int("axis", -1), in.size());
  if (!axis) return axis.status();
  const auto at = static_cast<std::size_t>(*axis);
  // Either output may be unwanted; its shape is the other's.
  Shape out = context.has_output(0) ? context.out_shape(0) : context.out_shape(1);
  const Shape flat = {product(in, 0, at), in[at], product(in, at + 1, in.size())};
  const Shape flat_out = {flat[0], out[at], flat[2]};
  miniinfer_top_k_attrs attrs{};
  attrs.axis = 1;
  attrs.largest = context.attributes().get_int("largest", 1) != 0 ? 1 : 0;
  attrs.sorted = context.attributes().get_int("sorted", 1) != 0 ? 1 : 0;
  const std::vector<ValueId> made =
      context.emit_many(MINIINFER_TOP_K, make_attrs(attrs), {context.view(context.in(0), flat)},
                        {{context.dtype(0), flat_out}, {DataType::Int64, flat_out}});
  for (std::size_t i = 0; i < 2; ++i) {
    if (context.has_output(i)) context.set_output(i, context.view(made[i], out));
  }
  return {};
}

Status upgrade_top_k(UpgradeContext& context) {
  if (context.opset >= 10) return {};
  const std::int64_t k = context.node.attributes.get_int("k", -1);
  if (k < 0) return invalid("k is missing");
  context.node.attributes.erase("k");
  set_input(context, 1, context.graph.add_constant(make_constant_ints(std::span(&k, 1))));
  return {};
}

Status infer_non_zero(InferContext& context) {
  if (!context.shape(0)) return context.set(0, DataType::Int64, Shape{-1, -1});
  return context.set(0, DataType::Int64,
                     Shape{static_cast<std::int64_t>(context.shape(0)->size()), -1});
}

Status lower_non_zero(LowerContext& context) {
  const Shape& in = context.shape(0);
  if (in.size() > MINIINFER_MAX_RANK) {
    return unsupported("rank %zu: at most %d", in.size(), MINIINFER_MAX_RANK);
  }
  const Shape bound = {static_cast<std::int64_t>(in.size()), product(in, 0, in.size())};
  const std::vector<ValueId> made =
      context.emit_many(MINIINFER_NON_ZERO, make_attrs(miniinfer_non_zero_attrs{}), {context.in(0)},
                        {{DataType::Int64, bound}, {DataType::Int64, {1}}});
  context.set_output(0, made[0]);
  return {};
}

Status infer_non_max_suppression(InferContext& context) {
  if (context.shape(0) && context.shape(0)->size() != 3) {
    return invalid("boxes are %s, not [batch,n,4]", to_string(*context.shape(0)).c_str());
  }
  if (context.shape(1) && context.shape(1)->size() != 3) {
    return invalid("scores are %s, not [batch,classes,n]", to_string(*context.shape(1)).c_str());
  }
  return context.set(0, DataType::Int64, Shape{-1, 3});
}

double host_number(const LowerContext& context, std::size_t input, double fallback) {
  if (!context.has_input(input)) return fallback;
  const ConstantPtr value = context.constant(input);
  const std::vector<double> numbers = value ? value->as_doubles() : std::vector<double>();
  return numbers.empty() ? fallback : numbers.front();
}

Status lower_non_max_suppression(LowerContext& context) {
  const Shape& boxes = context.shape(0);
  const Shape& scores = context.shape(1);
  if (boxes[0] != scores[0] || boxes[1] != scores[2] || boxes[2] != 4) {
    return invalid("boxes %s and scores %s do not fit", to_string(boxes).c_str(),
                   to_string(scores).c_str());
  }
  miniinfer_non_max_suppression_attrs attrs{};
  const double most = host_number(context, 2, 0);
  attrs.max_per_class = std::clamp<std::int64_t>(
      most >= 9e18 ? boxes[1] : static_cast<std::int64_t>(most), 0, boxes[1]);
  attrs.iou_threshold = static_cast<float>(host_number(context, 3, 0));
  attrs.score_threshold = static_cast<float>(host_number(context, 4, -HUGE_VAL));
  attrs.center_point = context.attributes().get_int("center_point_box", 0) != 0 ? 1 : 0;
  const std::int64_t bound = boxes[0] * scores[1] * attrs.max_per_class;
  if (bound == 0) {
    context.set_output(0, context.constant_value(make_constant({DataType::Int64, {0, 3}}, {})));
    return {};
  }
  const std::vector<ValueId> made = context.emit_many(
      MINIINFER_NON_MAX_SUPPRESSION, make_attrs(attrs), {context.in(0), context.in(1)},
      {{DataType::Int64, {bound, 3}}, {DataType::Int64, {1}}});
  context.set_output(0, made[0]);
  return {};
}

Status lower_cum_sum(LowerContext& context) {
  const Shape& in = context.shape(0);
  const std::vector<std::int64_t> given = context.ints(1).value_or(std::vector<std::int64_t>());
  if (given.size() != 1) return invalid("axis has %zu elements", given.size());
  Result<std::int64_t> axis = normalise_axis(given.front(), in.size());
  if (!axis) return axis.status();
  const auto at = static_cast<std::size_t>(*axis);
  const Shape flat = {product(in, 0, at), in[at], product(in, at + 1, in.size())};
  miniinfer_cum_sum_attrs attrs{};
  attrs.axis = 1;
  attrs.exclusive = context.attributes().get_int("exclusive", 0) != 0 ? 1 : 0;
  attrs.reverse = context.attributes().get_int("reverse", 0) != 0 ? 1 : 0;
  const ValueId made = context.emit(MINIINFER_CUM_SUM, make_attrs(attrs),
                                    {context.view(context.in(0), flat)}, context.dtype(0), flat);
  context.set_output(0, context.view(made, in));
  return {};
}

// Each product is that of a window that reaches to the beginning, or with `reverse` to the end.
Status lower_cum_prod(LowerContext& context) {
  const Shape& in = context.shape(0);
  const std::vector<std::int64_t> given = context.ints(1).value_or(std::vector<std::int64_t>());
  if (given.size() != 1) return invalid("axis has %zu elements", given.size());
  Result<std::int64_t> axis = normalise_axis(given.front(), in.size());
  if (!axis) return axis.status();
  const AxisView view = view_axis(in, static_cast<std::size_t>(*axis));
  const bool reverse = context.attributes().get_int("reverse", 0) != 0;
  ValueId value = context.view(context.in(0), view.shape());
  if (context.attributes().get_int("exclusive", 0) != 0) {
    // The element leaves its own product: all move on by one, and a 1 comes in.
    const std::uint64_t one = element_bits(*make_constant_scalar(context.dtype(0), 1));
    const std::int64_t begin = reverse ? -1 : 1;
    value = emit_pad(context, value, {0, begin, 0}, {0, -begin, 0}, one);
  }
  miniinfer_reduce_attrs attrs{};
  attrs.kind = MINIINFER_REDUCE_PROD;
  for (std::size_t i = 0; i < 3; ++i) attrs.window[i] = attrs.stride[i] = attrs.dilation[i] = 1;
  attrs.window[1] = view.size;
  (reverse ? attrs.pad_end : attrs.pad_begin)[1] = view.size - 1;
  const ValueId result =
      context.emit(MINIINFER_REDUCE, make_attrs(attrs), {value}, context.dtype(0), view.shape());
  context.set_output(0, context.view(result, context.out_shape(0)));
  return {};
}

const Operator kTable[] = {
    {.name = "TopK",
     .min_inputs = 2,
     .max_inputs = 2,
     .max_outputs = 2,
     .attributes = {{"axis", AttributeSpec::Int},
                    {"largest", AttributeSpec::Int},
                    {"sorted", AttributeSpec::Int}},
     .host_inputs = 1u << 1,
     .infer = infer_top_k,
     .lower = lower_top_k,
     .upgrade = upgrade_top_k},
    {.name = "NonZero",
     .since = 9,
     .min_inputs = 1,
     .max_inputs = 1,
     .data_dependent = true,
     .infer = infer_non_zero,
     .lower = lower_non_zero},
    {.name = "NonMaxSuppression",
     .since = 10,
     .min_inputs = 2,
     .max_inputs = 5,
     .attributes = {{"center_point_box", AttributeSpec::Int}},
     .host_inputs = 1u << 2 | 1u << 3 | 1u << 4,
     .data_dependent = true,
     .infer = infer_non_max_suppression,
     .lower = lower_non_max_suppression},
    {.name = "CumProd",
     .since = 26,
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {{"exclusive", AttributeSpec::Int}, {"reverse", AttributeSpec::Int}},
     .host_inputs = 1u << 1,
     .infer = infer_same,
     .lower = lower_cum_prod},
    {.name = "CumSum",
     .since = 11,
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {{"exclusive", AttributeSpec::Int}, {"reverse", AttributeSpec::Int}},
     .host_inputs = 1u << 1,
     .infer = infer_same,
     .lower = lower_cum_sum},
};

}  // namespace

const OperatorTable kSelectOperators = kTable;

}  // namespace miniinfer
