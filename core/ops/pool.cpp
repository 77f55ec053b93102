// Pooling: reductions of windows along the spatial axes, or of these axes as a whole.

#include <algorithm>

#include "core/ops/families.hpp"
#include "core/ops/lowering_reduce.hpp"
#include "core/ops/window.hpp"

namespace miniinfer {
namespace {

using Spatial = std::span<const std::int64_t>;

Spatial spatial(const Shape& shape) { return Spatial(shape).subspan(2); }

struct Placed {
  Window window;
  Shape sizes;
};

Result<Placed> place(const Attributes& attributes, const Shape& in) {
  const auto kernel = attributes.get_ints("kernel_shape");
  if (!kernel) return invalid("kernel_shape is missing");
  Result<Window> window = read_window(attributes, Shape(kernel->begin(), kernel->end()));
  if (!window) return window.status();
  const bool ceil_mode = attributes.get_int("ceil_mode", 0) != 0;
  Result<Shape> sizes = place_window(*window, attributes, spatial(in), ceil_mode);
  if (!sizes) return sizes.status();
  return Placed{std::move(*window), std::move(*sizes)};
}

Status check_rank(const std::optional<Shape>& in, std::size_t least) {
  if (!in || in->size() >= least) return {};
  return invalid("the input is of rank %zu; it has at least %zu axes", in->size(), least);
}

Status infer_pool(InferContext& context) {
  if (Status status = check_type(context, 0, TypeRule::Numeric); !status.ok()) return status;
  const std::optional<Shape>& in = context.shape(0);
  if (Status status = check_rank(in, 3); !status.ok()) return status;
  std::optional<Shape> out = in;
  if (in) {
    Result<Placed> placed = place(context.attributes(), *in);
    if (!placed) return placed.status();
    std::copy(placed->sizes.begin(), placed->sizes.end(), out->begin() + 2);
  }
  if (Status status = context.set(0, context.dtype(0), out); !status.ok()) return status;
  return context.set(1, DataType::Int64, std::move(out));
}

Status infer_global(InferContext& context) {
  if (Status status = check_type(context, 0, TypeRule::Numeric); !status.ok()) return status;
  if (Status status = check_rank(context.shape(0), 2); !status.ok()) return status;
  std::optional<Shape> out = context.shape(0);
  if (out) std::fill(out->begin() + 2, out->end(), 1);
  return context.set(0, context.dtype(0), std::move(out));
}

ValueId reduce_windows(LowerContext& context, miniinfer_reduce_attrs attrs, int kind,
                       ValueId value) {
  attrs.kind = kind;
  Shape out = context.shape_of(value);
  const Shape& wanted = context.has_output(0) ? context.out_shape(0) : context.out_shape(1);
  std::copy(wanted.begin() + 2, wanted.end(), out.begin() + 2);
  return context.emit(MINIINFER_REDUCE, make_attrs(attrs), {value}, context.dtype_of(value), out);
}

Status lower_max_pool(LowerContext& context) {
  Result<Placed> placed = place(context.attributes(), context.shape(0));
  if (!placed) return placed.status();
  Result<miniinfer_reduce_attrs> attrs = window_attrs(placed->window, context.shape(0).size());
  if (!attrs) return attrs.status();
  attrs->kind = MINIINFER_REDUCE_MAX;
  attrs->index_column_major = context.attributes().get_int("storage_order", 0) != 0;
  if (!context.has_output(1)) {
    context.set_output(0, reduce_windows(context, *attrs, attrs->kind, context.in(0)));
    return {};
  }
  const Shape out = context.out_shape(1);
  const std::vector<ValueId> results =
      context.emit_many(MINIINFER_REDUCE, make_attrs(*attrs), {context.in(0)},
                        {{context.dtype(0), out}, {DataType::Int64, out}});
  context.set_output(0, results[0]);
  context.set_output(1, results[1]);
  return {};
}

Status lower_average_pool(LowerContext& context) {
  Result<Placed> placed = place(context.attributes(), context.shape(0));
  if (!placed) return placed.status();
  Result<miniinfer_reduce_attrs> attrs = window_attrs(placed->window, context.shape(0).size());
  if (!attrs) return attrs.status();
  attrs->count_pad = context.attributes().get_int("count_include_pad", 0) != 0;
  context.set_output(0, reduce_windows(context, *attrs, MINIINFER_REDUCE_MEAN, context.in(0)));
  return {};
}

// |x|^p, in a type that sums can be taken in.
ValueId power(LowerContext& context, ValueId value, std::int64_t p) {
  const DataType compute = formula_type(context.dtype_of(value));
  Formula f(context, {value}, compute);
  auto result = f.op(MINIINFER_PW_ABS, f.in(0));
  if (p == 2) result = f.op(MINIINFER_PW_MUL, f.in(0), f.in(0));
  if (p > 2) {
    result = f.op(MINIINFER_PW_POW, result, f.number(static_cast<double>(p)));
  }
  return f.finish(result, compute, context.shape_of(value));
}

ValueId root(LowerContext& context, ValueId value, std::int64_t p, DataType dtype) {
  Formula f(context, {value}, context.dtype_of(value));
  auto result = f.in(0);
  if (p == 2) result = f.op(MINIINFER_PW_SQRT, result);
  if (p > 2) {
    result = f.op(MINIINFER_PW_POW, result, f.number(1 / static_cast<double>(p)));
  }
  return f.finish(result, dtype, context.shape_of(value));
}

Result<std::int64_t> read_p(const Attributes& attributes) {
  const std::int64_t p = attributes.get_int("p", 2);
  if (p < 1) return invalid("p is %lld; it is at least 1", static_cast<long long>(p));
  return p;
}

Status lower_lp_pool(LowerContext& context) {
  Result<std::int64_t> p = read_p(context.attributes());
  if (!p) return p.status();
  Result<Placed> placed = place(context.attributes(), context.shape(0));
  if (!placed) return placed.status();
  Result<miniinfer_reduce_attrs> attrs = window_attrs(placed->window, context.shape(0).size());
  if (!attrs) return attrs.status();
  const ValueId powers = power(context, context.in(0), *p);
  const ValueId sums = reduce_windows(context, *attrs, MINIINFER_REDUCE_SUM, powers);
  context.set_output(0, root(context, sums, *p, context.dtype(0)));
  return {};
}

template <int kKind>
Status lower_global(LowerContext& context) {
  context.set_output(
      0, emit_reduce(context, kKind, context.in(0), axes_from(2, context.shape(0).size())));
  return {};
}

Status lower_global_lp(LowerContext& context) {
  Result<std::int64_t> p = read_p(context.attributes());
  if (!p) return p.status();
  const ValueId powers = power(context, context.in(0), *p);
  const ValueId sums =
      emit_reduce(context, MINIINFER_REDUCE_SUM, powers, axes_from(2, context.shape(0).size()));
  context.set_output(0, root(context, sums, *p, context.dtype(0)));
  return {};
}

// Opset 1 gave p as a float.
Status upgrade_p(UpgradeContext& context) {
  Attributes& attributes = context.node.attributes;
  if (context.opset >= 2 || attributes.find("p") == nullptr) return {};
  const float p = attributes.get_float("p", 2);
  if (!(p >= 1 && p < 1e6f) || p != static_cast<float>(static_cast<std::int64_t>(p))) {
    return unsupported("p = %g, which is no whole number", static_cast<double>(p));
  }
  attributes.set("p", static_cast<std::int64_t>(p));
  return {};
}

std::vector<AttributeSpec> pool_attributes(std::initializer_list<AttributeSpec> more) {
  std::vector<AttributeSpec> all = {
      {"auto_pad", AttributeSpec::String}, {"ceil_mode", AttributeSpec::Int},
      {"dilations", AttributeSpec::Ints},  {"kernel_shape", AttributeSpec::Ints, true},
      {"pads", AttributeSpec::Ints},       {"strides", AttributeSpec::Ints}};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

const Operator kTable[] = {
    {.name = "AveragePool",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = pool_attributes({{"count_include_pad", AttributeSpec::Int}}),
     .infer = infer_pool,
     .lower = lower_average_pool},
    {.name = "GlobalAveragePool",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_global,
     .lower = lower_global<MINIINFER_REDUCE_MEAN>},
    {.name = "GlobalLpPool",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {{"p", AttributeSpec::Int}},
     .infer = infer_global,
     .lower = lower_global_lp,
     .upgrade = upgrade_p},
    {.name = "GlobalMaxPool",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_global,
     .lower = lower_global<MINIINFER_REDUCE_MAX>},
    {.name = "LpPool",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = pool_attributes({{"p", AttributeSpec::Int}}),
     .infer = infer_pool,
     .lower = lower_lp_pool,
     .upgrade = upgrade_p},
    {.name = "MaxPool",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .max_outputs = 2,
     .attributes = pool_attributes({{"storage_order", AttributeSpec::Int}}),
     .infer = infer_pool,
     .lower = lower_max_pool},
};

}  // namespace

const OperatorTable kPoolOperators = kTable;

}  // namespace miniinfer
