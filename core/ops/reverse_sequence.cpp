#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"
#include "miniinfer/abi/op/gather.h"

namespace miniinfer {
namespace {

Status infer_reverse(InferContext& context) {
  const std::int64_t batch = context.attributes().get_int("batch_axis", 1);
  const std::int64_t time = context.attributes().get_int("time_axis", 0);
  if (!((batch == 0 && time == 1) || (batch == 1 && time == 0))) {
    return invalid("batch_axis %lld and time_axis %lld are not 0 and 1",
                   static_cast<long long>(batch), static_cast<long long>(time));
  }
  const std::optional<Shape>& in = context.shape(0);
  if (in && in->size() < 2) return invalid("the input is of rank %zu", in->size());
  const std::optional<Shape>& lengths = context.shape(1);
  if (is_concrete(in) && is_concrete(lengths) &&
      *lengths != Shape{(*in)[static_cast<std::size_t>(batch)]}) {
    return invalid("%s lengths for a batch of %lld", to_string(*lengths).c_str(),
                   static_cast<long long>((*in)[static_cast<std::size_t>(batch)]));
  }
  return infer_same(context);
}

// The first two axes are taken as one; which of its rows comes where is computed from the lengths.
Status lower_reverse(LowerContext& context) {
  const Shape& in = context.shape(0);
  const bool time_first = context.attributes().get_int("time_axis", 0) == 0;
  const std::int64_t times = time_first ? in[0] : in[1];
  const std::int64_t batch = time_first ? in[1] : in[0];
  const std::int64_t time_stride = time_first ? batch : 1;
  const std::int64_t batch_stride = time_first ? 1 : times;
  const Shape time_shape = time_first ? Shape{times, 1} : Shape{1, times};
  const Shape batch_shape = time_first ? Shape{1, batch} : Shape{batch, 1};
  const Shape rows = {in[0], in[1]};

  Formula f(context,
            {emit_positions(context, 0, 1, time_shape),
             emit_positions(context, 0, batch_stride, batch_shape),
             context.view(context.in(1), batch_shape)},
            DataType::Int64);
  const auto last = f.op(MINIINFER_PW_SUB, f.in(2), f.number(1));
  const auto mirrored = f.op(MINIINFER_PW_SUB, last, f.in(0));
  const auto inside = f.op(MINIINFER_PW_LESS, f.in(0), f.in(2));
  const auto time = f.op(MINIINFER_PW_SELECT, inside, mirrored, f.in(0));
  const auto scaled = f.op(MINIINFER_PW_MUL, time, f.number(static_cast<double>(time_stride)));
  const ValueId index = f.finish(f.op(MINIINFER_PW_ADD, scaled, f.in(1)), DataType::Int64, rows);

  miniinfer_gather_attrs attrs{};
  attrs.mode = MINIINFER_GATHER_AXIS;
  const std::int64_t width = product(in, 2, in.size());
  const ValueId data = context.view(context.in(0), {in[0] * in[1], width});
  const ValueId gathered = context.emit(MINIINFER_GATHER, make_attrs(attrs), {data, index},
                                        context.dtype(0), {in[0], in[1], width});
  context.set_output(0, context.view(gathered, in));
  return {};
}

const Operator kTable[] = {
    {.name = "ReverseSequence",
     .since = 10,
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {{"batch_axis", AttributeSpec::Int}, {"time_axis", AttributeSpec::Int}},
     .infer = infer_reverse,
     .lower = lower_reverse},
};

}  // namespace

const OperatorTable kReverseOperators = kTable;

}  // namespace miniinfer
