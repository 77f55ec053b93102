// Slice, Split and Concat: axes are cut or joined.

#include <algorithm>
#include <limits>

#include "core/base/checked_math.hpp"
#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"

namespace miniinfer {
namespace {

using Ints = std::vector<std::int64_t>;

struct Cut {
  std::int64_t start;
  std::int64_t size;
};

Cut cut_axis(std::int64_t dim, std::int64_t start, std::int64_t end, std::int64_t step) {
  if (start < 0) start += dim;
  if (end < 0) end += dim;
  if (step > 0) {
    start = std::clamp<std::int64_t>(start, 0, dim);
    end = std::clamp<std::int64_t>(end, start, std::max(start, dim));
    const std::int64_t span = end - start;
    return {start, span / step + (span % step != 0)};
  }
  start = std::min(std::max<std::int64_t>(start, 0), dim - 1);
  end = std::clamp<std::int64_t>(end, -1, std::max<std::int64_t>(dim - 1, -1));
  const std::int64_t span = std::max<std::int64_t>(start - end, 0);
  const std::int64_t stride = -std::max(step, -std::numeric_limits<std::int64_t>::max());
  return {std::max<std::int64_t>(start, 0), span / stride + (span % stride != 0)};
}

struct SliceResult {
  Shape starts, sizes, steps;
};

// Sizes are -1 along axes whose size is not known.
Result<SliceResult> slice_shape(const Shape& in, const Ints& starts, const Ints& ends,
                                const Ints& axes, const Ints& steps) {
  if (ends.size() != starts.size() || axes.size() != starts.size() ||
      steps.size() != starts.size()) {
    return invalid("%zu starts, %zu ends, %zu axes and %zu steps do not match", starts.size(),
                   ends.size(), axes.size(), steps.size());
  }
  Result<Ints> normal = normalise_axes(axes, in.size());
  if (!normal) return normal.status();
  SliceResult out{Shape(in.size(), 0), in, Shape(in.size(), 1)};
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const auto axis = static_cast<std::size_t>((*normal)[i]);
    if (steps[i] == 0) return invalid("the step along axis %zu is 0", axis);
    if (in[axis] < 0) continue;
    const Cut cut = cut_axis(in[axis], starts[i], ends[i], steps[i]);
    out.starts[axis] = cut.start;
    out.sizes[axis] = cut.size;
    // A step that is taken at most once may be any; this one cannot overflow.
    out.steps[axis] = cut.size > 1 ? steps[i] : 1;
  }
  return out;
}

Ints first_axes(std::size_t count) {
  Ints axes(count);
  for (std::size_t i = 0; i < count; ++i) axes[i] = static_cast<std::int64_t>(i);
  return axes;
}

Status infer_slice(InferContext& context) {
  const std::optional<Shape>& in = context.shape(0);
  std::optional<Ints> lists[4];
  for (std::size_t i = 0; i < 4; ++i) {
    Result<std::optional<Ints>> list = host_ints(context, i + 1);
    if (!list) return list.status();
    lists[i] = std::move(*list);
  }
  auto& [starts, ends, axes, steps] = lists;
  if (starts && !context.has_input(3)) axes = first_axes(starts->size());
  if (starts && !context.has_input(4)) steps = Ints(starts->size(), 1);
  if (!in) return context.set(0, context.dtype(0), std::nullopt);
  if (starts && ends && axes && steps) {
    Result<SliceResult> out = slice_shape(*in, *starts, *ends, *axes, *steps);
    if (!out) return out.status();
    return context.set(0, context.dtype(0), std::move(out->sizes));
  }
  Shape unknown(in->size(), -1);
  if (axes && context.has_input(3)) {
    // The other axes stay whole.
    Result<Ints> normal = normalise_axes(*axes, in->size());
    if (!normal) return normal.status();
    unknown = *in;
    for (const std::int64_t axis : *normal) unknown[static_cast<std::size_t>(axis)] = -1;
  }
  return context.set(0, context.dtype(0), std::move(unknown));
}

Status lower_slice(LowerContext& context) {
  const std::optional<Ints> starts = context.ints(1);
  const std::optional<Ints> ends = context.ints(2);
  if (!starts || !ends) return unsupported("starts and ends that are not known");
  const Ints axes =
      context.has_input(3) ? context.ints(3).value_or(Ints()) : first_axes(starts->size());
  const Ints steps =
      context.has_input(4) ? context.ints(4).value_or(Ints()) : Ints(starts->size(), 1);
  Result<SliceResult> out = slice_shape(context.shape(0), *starts, *ends, axes, steps);
  if (!out) return out.status();
  context.set_output(0, emit_slice(context, context.in(0), out->starts, out->sizes, out->steps));
  return {};
}

Status upgrade_slice(UpgradeContext& context) {
  if (context.opset >= 10) return {};
  ints_to_input(context, "starts", 1);
  ints_to_input(context, "ends", 2);
  ints_to_input(context, "axes", 3);
  return {};
}

// How long each part is; empty where that is not known.
Result<Shape> split_sizes(std::int64_t dim, std::size_t count, const std::optional<Ints>& given,
                          bool has_given, std::int64_t wanted) {
  if (has_given && !given) return Shape();
  if (has_given) {
    std::int64_t sum = 0;
    for (const std::int64_t size : *given) {
      if (size < 0 || !checked_add(sum, size, &sum)) {
        return invalid("a part of %lld elements", static_cast<long long>(size));
      }
    }
    if (given->size() != count || (dim >= 0 && sum != dim)) {
      return invalid("%zu parts of %lld elements together, for %zu outputs of an axis of %lld",
                     given->size(), static_cast<long long>(sum), count,
                     static_cast<long long>(dim));
    }
    return *given;
  }
  if (wanted != static_cast<std::int64_t>(count)) {
    return invalid("num_outputs is %lld, the node has %zu outputs", static_cast<long long>(wanted),
                   count);
  }
  if (dim < 0) return Shape();
  const std::int64_t chunk = dim / wanted + (dim % wanted != 0);
  Shape sizes;
  for (std::int64_t left = dim; sizes.size() < count; left -= sizes.back()) {
    sizes.push_back(std::min(chunk, left));
  }
  return sizes;
}

template <class Context>
Result<Shape> node_split_sizes(const Context& context, std::int64_t dim) {
  const std::size_t count = context.node().outputs.size();
  const auto wanted = context.attributes().get_int("num_outputs", static_cast<std::int64_t>(count));
  return split_sizes(dim, count, context.ints(1), context.has_input(1), wanted);
}

Status infer_split(InferContext& context) {
  if (Result<std::optional<Ints>> list = host_ints(context, 1); !list) return list.status();
  const std::size_t count = context.output_count();
  const std::optional<Shape> in = context.shape(0);
  Shape sizes;
  std::size_t axis = 0;
  if (in) {
    Result<std::int64_t> normal =
        normalise_axis(context.attributes().get_int("axis", 0), in->size());
    if (!normal) return normal.status();
    axis = static_cast<std::size_t>(*normal);
    Result<Shape> parts = node_split_sizes(context, (*in)[axis]);
    if (!parts) return parts.status();
    sizes = std::move(*parts);
  }
  for (std::size_t i = 0; i < count; ++i) {
    std::optional<Shape> out = in;
    if (out) (*out)[axis] = sizes.empty() ? -1 : sizes[i];
    if (Status status = context.set(i, context.dtype(0), std::move(out)); !status.ok()) {
      return status;
    }
  }
  return {};
}

Status lower_split(LowerContext& context) {
  const Shape& in = context.shape(0);
  Result<std::int64_t> normal = normalise_axis(context.attributes().get_int("axis", 0), in.size());
  if (!normal) return normal.status();
  const auto axis = static_cast<std::size_t>(*normal);
  Result<Shape> sizes = node_split_sizes(context, in[axis]);
  if (!sizes) return sizes.status();
  Shape starts(in.size(), 0);
  for (std::size_t i = 0; i < sizes->size(); ++i) {
    Shape part = in;
    part[axis] = (*sizes)[i];
    if (context.has_output(i)) {
      context.set_output(i, emit_slice(context, context.in(0), starts, part, Shape(in.size(), 1)));
    }
    starts[axis] += part[axis];
  }
  return {};
}

Status upgrade_split(UpgradeContext& context) {
  if (context.opset < 13) ints_to_input(context, "split", 1);
  return {};
}

Status infer_concat(InferContext& context) {
  const std::size_t count = context.input_count();
  Result<DataType> type = common_type(context, 0, count);
  if (!type) return type.status();
  std::optional<Shape> out;
  std::size_t axis = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!context.shape(i)) return context.set(0, *type, std::nullopt);
    const Shape& in = *context.shape(i);
    if (!out) {
      out = in;
      Result<std::int64_t> normal =
          normalise_axis(context.attributes().get_int("axis", 1), in.size());
      if (!normal) return normal.status();
      axis = static_cast<std::size_t>(*normal);
      continue;
    }
    bool fits = in.size() == out->size();
    for (std::size_t d = 0; fits && d < in.size(); ++d) {
      std::int64_t& dim = (*out)[d];
      if (d == axis) {
        if (dim == -1 || in[d] == -1) {
          dim = -1;
        } else if (!checked_add(dim, in[d], &dim)) {
          return invalid("axis %zu becomes too long", axis);
        }
      } else if (dim == -1) {
        dim = in[d];
      } else if (in[d] != -1) {
        fits = in[d] == dim;
      }
    }
    if (!fits) {
      return invalid("input %zu is %s and input 0 is %s; they differ beside axis %zu", i,
                     to_string(in).c_str(), to_string(*context.shape(0)).c_str(), axis);
    }
  }
  return context.set(0, *type, std::move(out));
}

Status lower_concat(LowerContext& context) {
  std::vector<ValueId> values;
  for (std::size_t i = 0; i < context.input_count(); ++i) values.push_back(context.in(i));
  Result<std::int64_t> axis =
      normalise_axis(context.attributes().get_int("axis", 1), context.shape(0).size());
  if (!axis) return axis.status();
  context.set_output(0, emit_concat(context, std::move(values), static_cast<std::size_t>(*axis)));
  return {};
}

Status upgrade_concat(UpgradeContext& context) {
  if (context.opset < 4 && context.node.attributes.find("axis") == nullptr) {
    context.node.attributes.set("axis", std::int64_t{1});
  }
  return {};
}

const Operator kTable[] = {
    {.name = "Slice",
     .since = 1,
     .min_inputs = 3,
     .max_inputs = 5,
     .attributes = {},
     .host_inputs = 0b11110,
     .infer = infer_slice,
     .lower = lower_slice,
     .upgrade = upgrade_slice},
    {.name = "Split",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 2,
     .max_outputs = -1,
     .attributes = {{"axis", AttributeSpec::Int}, {"num_outputs", AttributeSpec::Int}},
     .host_inputs = 0b10,
     .infer = infer_split,
     .lower = lower_split,
     .upgrade = upgrade_split},
    {.name = "Concat",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = -1,
     .attributes = {{"axis", AttributeSpec::Int, true}},
     .infer = infer_concat,
     .lower = lower_concat,
     .upgrade = upgrade_concat},
};

}  // namespace

const OperatorTable kSliceOperators = kTable;

}  // namespace miniinfer
