// Operators that look at shapes or change nothing else.

#include <algorithm>

#include "core/base/checked_math.hpp"
#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"

namespace miniinfer {
namespace {

Status lower_view(LowerContext& context) {
  context.set_output(0, context.view(context.in(0), context.out_shape(0)));
  return {};
}

// The range of axes a Shape node asks for.
std::pair<std::size_t, std::size_t> shape_range(const Attributes& attributes, std::size_t rank) {
  const auto count = static_cast<std::int64_t>(rank);
  const auto clamp = [&](std::int64_t axis) {
    return std::clamp<std::int64_t>(axis < 0 ? axis + count : axis, 0, count);
  };
  const std::int64_t start = clamp(attributes.get_int("start", 0));
  const std::int64_t end = clamp(attributes.get_int("end", count));
  return {static_cast<std::size_t>(start), static_cast<std::size_t>(std::max(start, end))};
}

Shape shape_value(const Attributes& attributes, const Shape& shape) {
  const auto [start, end] = shape_range(attributes, shape.size());
  return Shape(shape.begin() + static_cast<std::ptrdiff_t>(start),
               shape.begin() + static_cast<std::ptrdiff_t>(end));
}

Status infer_shape_of(InferContext& context) {
  if (!context.shape(0)) return context.set(0, DataType::Int64, std::nullopt);
  const Shape value = shape_value(context.attributes(), *context.shape(0));
  if (is_concrete(value)) return context.set_constant(0, make_constant_ints(value));
  return context.set(0, DataType::Int64, Shape{static_cast<std::int64_t>(value.size())});
}

Status lower_shape_of(LowerContext& context) {
  const Shape value = shape_value(context.attributes(), context.shape(0));
  context.set_output(0, context.constant_value(make_constant_ints(value)));
  return {};
}

Result<ConstantPtr> size_value(const Shape& shape) {
  Result<std::uint64_t> count = element_count(shape);
  if (!count) return count.status();
  const auto value = static_cast<std::int64_t>(*count);
  return make_constant({DataType::Int64, {}}, std::as_bytes(std::span(&value, 1)));
}

Status infer_size(InferContext& context) {
  if (!is_concrete(context.shape(0))) return context.set(0, DataType::Int64, Shape{});
  Result<ConstantPtr> value = size_value(*context.shape(0));
  return value ? context.set_constant(0, *value) : value.status();
}

Status lower_size(LowerContext& context) {
  Result<ConstantPtr> value = size_value(context.shape(0));
  if (!value) return value.status();
  context.set_output(0, context.constant_value(*value));
  return {};
}

// The target with zeros replaced by the input's sizes; sizes not known stay -1.
Result<Shape> reshape_target(const std::vector<std::int64_t>& wanted,
                             const std::optional<Shape>& from, bool allow_zero) {
  Shape out = wanted;
  std::ptrdiff_t open = -1;  // the axis to be computed
  bool exact = true;         // all other sizes are known
  std::uint64_t rest = 1;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] < -1) return invalid("the shape asks for size %lld", static_cast<long long>(out[i]));
    if (out[i] == -1) {
      if (open >= 0) return invalid("the shape leaves two sizes open");
      open = static_cast<std::ptrdiff_t>(i);
      continue;
    }
    if (out[i] == 0 && !allow_zero) {
      if (from && i >= from->size()) {
        return invalid("the shape copies axis %zu of an input of rank %zu", i, from->size());
      }
      out[i] = from ? (*from)[i] : -1;
      exact = exact && out[i] >= 0;
    }
    if (out[i] >= 0 && !checked_mul(rest, static_cast<std::uint64_t>(out[i]), &rest)) {
      return invalid("the shape %s is too large", to_string(wanted).c_str());
    }
  }
  if (!is_concrete(from) || !exact) return out;
  Result<std::uint64_t> count = element_count(*from);
  if (!count) return count.status();
  if (open >= 0 && rest == 0) {
    return invalid("the open size of %s could be anything", to_string(wanted).c_str());
  }
  const bool fits = open >= 0 ? *count % rest == 0 : *count == rest;
  if (!fits) {
    return invalid("%s has %llu elements, which do not fill the shape %s", to_string(*from).c_str(),
                   static_cast<unsigned long long>(*count), to_string(wanted).c_str());
  }
  if (open >= 0) out[static_cast<std::size_t>(open)] = static_cast<std::int64_t>(*count / rest);
  return out;
}

Status infer_reshape(InferContext& context) {
  Result<std::optional<std::vector<std::int64_t>>> wanted = host_ints(context, 1);
  if (!wanted) return wanted.status();
  if (!*wanted) {
    // Of a shape still to be computed at least its length may be known.
    std::optional<Shape> shape;
    if (is_concrete(context.shape(1)) && context.shape(1)->size() == 1 &&
        context.shape(1)->front() <= 64) {
      shape = Shape(static_cast<std::size_t>(context.shape(1)->front()), -1);
    }
    return context.set(0, context.dtype(0), std::move(shape));
  }
  const bool allow_zero = context.attributes().get_int("allowzero", 0) != 0;
  Result<Shape> shape = reshape_target(**wanted, context.shape(0), allow_zero);
  if (!shape) return shape.status();
  return context.set(0, context.dtype(0), std::move(*shape));
}

Status upgrade_reshape(UpgradeContext& context) {
  if (context.opset < 5) ints_to_input(context, "shape", 1);
  return drop_consumed_inputs(context);
}

Status infer_flatten(InferContext& context) {
  if (!context.shape(0)) return context.set(0, context.dtype(0), Shape{-1, -1});
  const Shape& in = *context.shape(0);
  const auto rank = static_cast<std::int64_t>(in.size());
  const std::int64_t axis = context.attributes().get_int("axis", 1);
  if (axis < -rank || axis > rank) {
    return invalid("axis %lld is not in [%lld, %lld]", static_cast<long long>(axis),
                   static_cast<long long>(-rank), static_cast<long long>(rank));
  }
  const auto cut = static_cast<std::ptrdiff_t>(axis < 0 ? axis + rank : axis);
  Shape out;
  for (const Shape& part :
       {Shape(in.begin(), in.begin() + cut), Shape(in.begin() + cut, in.end())}) {
    if (!is_concrete(part)) {
      out.push_back(-1);
      continue;
    }
    Result<std::uint64_t> count = element_count(part);
    if (!count) return count.status();
    out.push_back(static_cast<std::int64_t>(*count));
  }
  return context.set(0, context.dtype(0), std::move(out));
}

Status infer_squeeze(InferContext& context) {
  Result<std::optional<std::vector<std::int64_t>>> axes = host_ints(context, 1);
  if (!axes) return axes.status();
  if (!context.shape(0) || !*axes) return context.set(0, context.dtype(0), std::nullopt);
  const Shape& in = *context.shape(0);
  const bool all = !context.has_input(1);
  if (all && !is_concrete(in)) return context.set(0, context.dtype(0), std::nullopt);
  Result<std::vector<std::int64_t>> normal = normalise_axes(**axes, in.size());
  if (!normal) return normal.status();
  std::vector<bool> named(in.size());
  for (const std::int64_t axis : *normal) named[static_cast<std::size_t>(axis)] = true;
  Shape out;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (named[i] && in[i] != 1 && in[i] != -1) {
      return invalid("axis %zu has size %lld; only axes of size 1 can be removed", i,
                     static_cast<long long>(in[i]));
    }
    if (!(named[i] || (all && in[i] == 1))) out.push_back(in[i]);
  }
  return context.set(0, context.dtype(0), std::move(out));
}

Status infer_unsqueeze(InferContext& context) {
  Result<std::optional<std::vector<std::int64_t>>> axes = host_ints(context, 1);
  if (!axes) return axes.status();
  if (!context.shape(0) || !*axes) return context.set(0, context.dtype(0), std::nullopt);
  const Shape& in = *context.shape(0);
  Result<std::vector<std::int64_t>> normal = normalise_axes(**axes, in.size() + (**axes).size());
  if (!normal) return normal.status();
  Shape out(in.size() + normal->size(), 0);
  for (const std::int64_t axis : *normal) out[static_cast<std::size_t>(axis)] = 1;
  auto next = in.begin();
  for (std::int64_t& dim : out) {
    if (dim == 0) dim = *next++;
  }
  return context.set(0, context.dtype(0), std::move(out));
}

Status upgrade_axes(UpgradeContext& context) {
  if (context.opset < 13) ints_to_input(context, "axes", 1);
  return {};
}

// What older definitions needed (rules.hpp, align_input): input 1 with the rank of input 0, its own
// first axis at `axis` of it. One element meets anything.
Status infer_align(InferContext& context) {
  if (!context.shape(0) || !context.shape(1)) {
    return context.set(0, context.dtype(1), std::nullopt);
  }
  const Shape& in = *context.shape(1);
  const std::size_t rank = context.shape(0)->size();
  Shape out(rank, 1);
  if (!is_concrete(in) || product(in, 0, in.size()) != 1) {
    Result<std::int64_t> axis = normalise_axis(context.attributes().get_int("axis", 0), rank);
    if (!axis) return axis.status();
    const auto first = static_cast<std::size_t>(*axis);
    if (first + in.size() > rank) {
      return invalid("%s does not fit into %s from axis %zu on", to_string(in).c_str(),
                     to_string(*context.shape(0)).c_str(), first);
    }
    std::copy(in.begin(), in.end(), out.begin() + *axis);
  }
  return context.set(0, context.dtype(1), std::move(out));
}

Status lower_align(LowerContext& context) {
  context.set_output(0, context.view(context.in(1), context.out_shape(0)));
  return {};
}

Status infer_dropout(InferContext& context) {
  if (Status status = infer_same(context); !status.ok()) return status;
  return context.set(1, DataType::Bool, context.shape(0));
}

// Nothing is dropped outside training.
Status lower_dropout(LowerContext& context) {
  const ConstantPtr training = context.constant(2);
  const ConstantPtr ratio = context.constant(1);
  const auto is_zero = [](const ConstantPtr& constant) {
    return constant && constant->as_doubles() == std::vector<double>{0};
  };
  if (context.has_input(2) && !is_zero(training) && !is_zero(ratio))
    return unsupported("dropping elements at random, in training mode");
  context.set_output(0, context.in(0));
  if (context.has_output(1)) {
    context.set_output(
        1, emit_filled(context, make_constant_scalar(DataType::Bool, 1), context.out_shape(1)));
  }
  return {};
}

Status upgrade_dropout(UpgradeContext& context) {
  if (context.opset < 12) {
    context.node.attributes.erase("ratio");
    context.node.attributes.erase("is_test");
  }
  return drop_consumed_inputs(context);
}

const Operator kTable[] = {
    {.name = "Shape",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {{"start", AttributeSpec::Int}, {"end", AttributeSpec::Int}},
     .infer = infer_shape_of,
     .lower = lower_shape_of},
    {.name = "Size",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {},
     .infer = infer_size,
     .lower = lower_size},
    {.name = "Reshape",
     .since = 1,
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {{"allowzero", AttributeSpec::Int}},
     .host_inputs = 0b10,
     .infer = infer_reshape,
     .lower = lower_view,
     .upgrade = upgrade_reshape},
    {.name = "Flatten",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {{"axis", AttributeSpec::Int}},
     .infer = infer_flatten,
     .lower = lower_view},
    {.name = "Squeeze",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 2,
     .attributes = {},
     .host_inputs = 0b10,
     .infer = infer_squeeze,
     .lower = lower_view,
     .upgrade = upgrade_axes},
    {.name = "Unsqueeze",
     .since = 1,
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {},
     .host_inputs = 0b10,
     .infer = infer_unsqueeze,
     .lower = lower_view,
     .upgrade = upgrade_axes},
    {.name = "miniinfer.Align",
     .since = 1,
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {{"axis", AttributeSpec::Int, true}},
     .infer = infer_align,
     .lower = lower_align},
    {.name = "Identity",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {},
     .infer = infer_same,
     .lower = lower_view},
    {.name = "Dropout",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 3,
     .max_outputs = 2,
     .attributes = {{"seed", AttributeSpec::Int}},
     .host_inputs = 0b110,
     .infer = infer_dropout,
     .lower = lower_dropout,
     .upgrade = upgrade_dropout},
};

}  // namespace

const OperatorTable kShapeOperators = kTable;

}  // namespace miniinfer
