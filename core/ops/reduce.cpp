// Reductions along axes.

#include <algorithm>
#include <limits>

#include "core/ops/families.hpp"
#include "core/ops/lowering_reduce.hpp"

namespace miniinfer {
namespace {

using Ints = std::vector<std::int64_t>;

// Which axes go: all of them for none, unless `noop_with_empty_axes`.
Result<Ints> reduced_axes(const Attributes& attributes, const Ints& given, std::size_t rank) {
  if (!given.empty()) return normalise_axes(given, rank);
  if (attributes.get_int("noop_with_empty_axes", 0) != 0) return Ints();
  return axes_from(0, rank);
}

Shape reduced_shape(const Shape& in, const Ints& axes, bool keep) {
  std::vector<bool> reduced(in.size(), false);
  for (const std::int64_t axis : axes) reduced[static_cast<std::size_t>(axis)] = true;
  Shape out;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (!reduced[i]) {
      out.push_back(in[i]);
    } else if (keep) {
      out.push_back(1);
    }
  }
  return out;
}

bool keeps(const Attributes& attributes) { return attributes.get_int("keepdims", 1) != 0; }

Status infer_reduce(InferContext& context) {
  Result<std::optional<Ints>> given = host_ints(context, 1);
  if (!given) return given.status();
  const std::optional<Shape>& in = context.shape(0);
  const bool keep = keeps(context.attributes());
  if (!in) return context.set(0, context.dtype(0), std::nullopt);
  if (*given) {
    Result<Ints> axes = reduced_axes(context.attributes(), **given, in->size());
    if (!axes) return axes.status();
    return context.set(0, context.dtype(0), reduced_shape(*in, *axes, keep));
  }
  if (keep) return context.set(0, context.dtype(0), Shape(in->size(), -1));
  const std::optional<Shape>& list = context.shape(1);
  if (is_concrete(list) && list->size() == 1 && (*list)[0] > 0 &&
      (*list)[0] <= static_cast<std::int64_t>(in->size())) {
    return context.set(0, context.dtype(0),
                       Shape(in->size() - static_cast<std::size_t>((*list)[0]), -1));
  }
  return context.set(0, context.dtype(0), std::nullopt);
}

enum class Step { None, Abs, Square, Sqrt, Log };

ValueId apply(LowerContext& context, Step step, ValueId value, DataType dtype) {
  Formula f(context, {value}, context.dtype_of(value));
  switch (step) {
    case Step::None:
      return emit_cast(context, value, dtype);
    case Step::Abs:
      return f.finish(f.op(MINIINFER_PW_ABS, f.in(0)), dtype, context.shape_of(value));
    case Step::Square:
      return f.finish(f.op(MINIINFER_PW_MUL, f.in(0), f.in(0)), dtype, context.shape_of(value));
    case Step::Sqrt:
      return f.finish(f.op(MINIINFER_PW_SQRT, f.in(0)), dtype, context.shape_of(value));
    case Step::Log:
      return f.finish(f.op(MINIINFER_PW_LOG, f.in(0)), dtype, context.shape_of(value));
  }
  return value;
}

Result<Ints> node_axes(const LowerContext& context) {
  Ints given;
  if (context.has_input(1)) {
    const std::optional<Ints> known = context.ints(1);
    if (!known) return unsupported("axes that are not known");
    given = *known;
  }
  return reduced_axes(context.attributes(), given, context.shape(0).size());
}

// What a chain of steps is computed in: integers have no root and no logarithm.
DataType chain_type(DataType dtype, bool functions) {
  if (functions && is_integer(dtype)) return DataType::Float64;
  return formula_type(dtype);
}

// BOOL is ordered like the bytes 0 and 1.
ValueId reduce_bool(LowerContext& context, int kind, const Ints& axes) {
  const Shape& in = context.shape(0);
  const bool empty = std::count(in.begin(), in.end(), 0) > 0;
  if (empty) {
    return emit_filled(context, make_constant_scalar(DataType::Bool, kind == MINIINFER_REDUCE_MIN),
                       context.out_shape(0));
  }
  const ValueId bytes = context.view_as(context.in(0), DataType::UInt8, in);
  const ValueId result = emit_reduce(context, kind, bytes, axes);
  return context.view_as(result, DataType::Bool, context.out_shape(0));
}

template <int kKind, Step kBefore, Step kAfter>
Status lower_reduce(LowerContext& context) {
  Result<Ints> axes = node_axes(context);
  if (!axes) return axes.status();
  const DataType dtype = context.dtype(0);
  if (dtype == DataType::Bool) {
    if (kKind != MINIINFER_REDUCE_MAX && kKind != MINIINFER_REDUCE_MIN) {
      return invalid("input 0 is bool; it takes numbers");
    }
    context.set_output(0, reduce_bool(context, kKind, *axes));
    return {};
  }
  ValueId value = context.in(0);
  if (kBefore != Step::None || kAfter != Step::None) {
    value = emit_cast(context, value, chain_type(dtype, kAfter != Step::None));
    value = apply(context, kBefore, value, context.dtype_of(value));
  }
  value = apply(context, kAfter, emit_reduce(context, kKind, value, *axes), dtype);
  context.set_output(0, context.view(value, context.out_shape(0)));
  return {};
}

// log(sum(exp(x - m))) + m, m being the maximum, or 0 where that is infinite.
Status lower_log_sum_exp(LowerContext& context) {
  Result<Ints> axes = node_axes(context);
  if (!axes) return axes.status();
  const DataType dtype = context.dtype(0);
  const DataType compute = chain_type(dtype, true);
  const ValueId x = emit_cast(context, context.in(0), compute);
  const ValueId max = emit_reduce(context, MINIINFER_REDUCE_MAX, x, *axes);
  const auto shift = [](Formula& f, Formula::Reg m) {
    const auto infinite = f.op(MINIINFER_PW_EQUAL, f.op(MINIINFER_PW_ABS, m),
                               f.number(std::numeric_limits<double>::infinity()));
    return f.op(MINIINFER_PW_SELECT, infinite, f.number(0), m);
  };
  Formula e(context, {x, max}, compute);
  const auto distance = e.op(MINIINFER_PW_SUB, e.in(0), shift(e, e.in(1)));
  const ValueId exps = e.finish(e.op(MINIINFER_PW_EXP, distance), compute, context.shape_of(x));
  const ValueId sums = emit_reduce(context, MINIINFER_REDUCE_SUM, exps, *axes);
  Formula f(context, {sums, max}, compute);
  const auto total = f.op(MINIINFER_PW_ADD, f.op(MINIINFER_PW_LOG, f.in(0)), shift(f, f.in(1)));
  const ValueId result = f.finish(total, dtype, context.shape_of(sums));
  context.set_output(0, context.view(result, context.out_shape(0)));
  return {};
}

Status infer_arg(InferContext& context) {
  if (Status status = check_type(context, 0, TypeRule::Numeric); !status.ok()) return status;
  const std::optional<Shape>& in = context.shape(0);
  if (!in) return context.set(0, DataType::Int64, std::nullopt);
  Result<std::int64_t> axis = normalise_axis(context.attributes().get_int("axis", 0), in->size());
  if (!axis) return axis.status();
  if ((*in)[static_cast<std::size_t>(*axis)] == 0)
    return invalid("there is nothing to choose from");
  return context.set(0, DataType::Int64, reduced_shape(*in, {*axis}, keeps(context.attributes())));
}

template <int kKind>
Status lower_arg(LowerContext& context) {
  const Attributes& attributes = context.attributes();
  Result<std::int64_t> axis =
      normalise_axis(attributes.get_int("axis", 0), context.shape(0).size());
  if (!axis) return axis.status();
  const bool last = attributes.get_int("select_last_index", 0) != 0;
  const ValueId result = emit_reduce(context, kKind, context.in(0), Ints{*axis}, last);
  context.set_output(0, context.view(result, context.out_shape(0)));
  return {};
}

// The axes came as an attribute before opset 18, of ReduceSum before opset 13.
template <std::int64_t kAxesInput>
Status upgrade_axes(UpgradeContext& context) {
  if (context.opset < kAxesInput) ints_to_input(context, "axes", 1);
  return {};
}

template <int kKind, Step kBefore = Step::None, Step kAfter = Step::None,
          std::int64_t kAxesInput = 18>
Operator reduction(std::string_view name) {
  return {.name = name,
          .since = 1,
          .min_inputs = 1,
          .max_inputs = 2,
          .attributes = {{"keepdims", AttributeSpec::Int},
                         {"noop_with_empty_axes", AttributeSpec::Int}},
          .host_inputs = 0b10,
          .infer = infer_reduce,
          .lower = lower_reduce<kKind, kBefore, kAfter>,
          .upgrade = upgrade_axes<kAxesInput>};
}

Operator log_sum_exp() {
  Operator op = reduction<MINIINFER_REDUCE_SUM>("ReduceLogSumExp");
  op.lower = lower_log_sum_exp;
  return op;
}

template <int kKind>
Operator arg_reduction(std::string_view name) {
  return {.name = name,
          .since = 1,
          .min_inputs = 1,
          .max_inputs = 1,
          .attributes = {{"axis", AttributeSpec::Int},
                         {"keepdims", AttributeSpec::Int},
                         {"select_last_index", AttributeSpec::Int}},
          .infer = infer_arg,
          .lower = lower_arg<kKind>};
}

const Operator kTable[] = {
    arg_reduction<MINIINFER_REDUCE_ARGMAX>("ArgMax"),
    arg_reduction<MINIINFER_REDUCE_ARGMIN>("ArgMin"),
    reduction<MINIINFER_REDUCE_SUM, Step::Abs>("ReduceL1"),
    reduction<MINIINFER_REDUCE_SUM, Step::Square, Step::Sqrt>("ReduceL2"),
    reduction<MINIINFER_REDUCE_SUM, Step::None, Step::Log>("ReduceLogSum"),
    log_sum_exp(),
    reduction<MINIINFER_REDUCE_MAX>("ReduceMax"),
    reduction<MINIINFER_REDUCE_MEAN>("ReduceMean"),
    reduction<MINIINFER_REDUCE_MIN>("ReduceMin"),
    reduction<MINIINFER_REDUCE_PROD>("ReduceProd"),
    reduction<MINIINFER_REDUCE_SUM, Step::None, Step::None, 13>("ReduceSum"),
    reduction<MINIINFER_REDUCE_SUM, Step::Square>("ReduceSumSquare"),
};

}  // namespace

const OperatorTable kReduceOperators = kTable;

}  // namespace miniinfer
