#include <algorithm>

#include "core/base/checked_math.hpp"
#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"

namespace miniinfer {
namespace {

using Ints = std::vector<std::int64_t>;

constexpr std::size_t kMostRegions = 4096;

struct Amounts {
  Shape before, after;
};

// `pads` are all beginnings, then all ends, of the axes named or of all.
Result<Amounts> amounts(std::size_t rank, const Ints& pads, const std::optional<Ints>& axes) {
  Ints named;
  if (axes) {
    Result<Ints> normal = normalise_axes(*axes, rank);
    if (!normal) return normal.status();
    named = std::move(*normal);
  } else {
    for (std::size_t i = 0; i < rank; ++i) named.push_back(static_cast<std::int64_t>(i));
  }
  if (pads.size() != named.size() * 2) {
    return invalid("%zu pads for %zu axes", pads.size(), named.size());
  }
  Amounts out{Shape(rank, 0), Shape(rank, 0)};
  for (std::size_t i = 0; i < named.size(); ++i) {
    out.before[static_cast<std::size_t>(named[i])] = pads[i];
    out.after[static_cast<std::size_t>(named[i])] = pads[i + named.size()];
  }
  return out;
}

Status infer_pad(InferContext& context) {
  Result<std::optional<Ints>> pads = host_ints(context, 1);
  if (!pads) return pads.status();
  Result<std::optional<Ints>> axes = host_ints(context, 3);
  if (!axes) return axes.status();
  if (!context.shape(0)) return context.set(0, context.dtype(0), std::nullopt);
  const Shape& in = *context.shape(0);
  Shape out(in.size(), -1);
  if (*pads && *axes) {
    Result<Amounts> by = amounts(in.size(), **pads, context.has_input(3) ? *axes : std::nullopt);
    if (!by) return by.status();
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (in[i] < 0) continue;
      std::int64_t size = 0;
      if (!checked_add(in[i], by->before[i], &size) || !checked_add(size, by->after[i], &size) ||
          size < 0) {
        return invalid("axis %zu of %lld elements is padded by %lld and %lld", i,
                       static_cast<long long>(in[i]), static_cast<long long>(by->before[i]),
                       static_cast<long long>(by->after[i]));
      }
      out[i] = size;
    }
  }
  return context.set(0, context.dtype(0), std::move(out));
}

// A run of output positions that read evenly spaced input positions.
struct Run {
  std::int64_t dst, src, step, length;
};

Run next_run(std::string_view mode, std::int64_t p, std::int64_t n) {
  const auto modulo = [](std::int64_t a, std::int64_t b) { return (a % b + b) % b; };
  if (mode == "wrap") {
    const std::int64_t m = modulo(p, n);
    return {p, m, 1, n - m};
  }
  if (mode == "reflect" && n > 1) {
    const std::int64_t period = 2 * (n - 1);
    const std::int64_t m = modulo(p, period);
    if (m < n) return {p, m, 1, n - m};
    return {p, period - m, -1, period - m};
  }
  if (p < 0) return {p, 0, 0, -p};
  if (p < n) return {p, p, 1, n - p};
  return {p, n - 1, 0, std::int64_t{1} << 62};
}

// What is cropped is cropped first: the rest is what is mirrored or repeated.
Result<std::vector<Run>> axis_runs(std::string_view mode, std::int64_t dim, std::int64_t before,
                                   std::int64_t after) {
  const std::int64_t cropped = std::max<std::int64_t>(-before, 0);
  const std::int64_t n = dim - cropped - std::max<std::int64_t>(-after, 0);
  const std::int64_t first = std::min<std::int64_t>(-before, 0);
  const std::int64_t end = n + std::max<std::int64_t>(after, 0);
  std::vector<Run> runs;
  if (n <= 0 && end > first) return invalid("mode %s has nothing to pad with", mode.data());
  for (std::int64_t p = first; p < end;) {
    if (runs.size() >= kMostRegions) return unsupported("padding by many times the size");
    Run run = next_run(mode, p, n);
    run.length = std::min(run.length, end - p);
    p += run.length;
    run.dst -= first;
    run.src += cropped;
    runs.push_back(run);
  }
  return runs;
}

Status lower_by_copying(LowerContext& context, std::string_view mode, const Amounts& by) {
  const Shape& in = context.shape(0);
  const Shape& out = context.out_shape(0);
  const Shape src_strides = row_major_strides(in);
  const Shape dst_strides = row_major_strides(out);
  std::vector<CopyPiece> pieces(1);
  for (std::size_t axis = 0; axis < in.size(); ++axis) {
    Result<std::vector<Run>> runs = axis_runs(mode, in[axis], by.before[axis], by.after[axis]);
    if (!runs) return runs.status();
    if (pieces.size() * runs->size() > kMostRegions) {
      return unsupported("padding that takes more than %zu regions", kMostRegions);
    }
    std::vector<CopyPiece> finer;
    for (const CopyPiece& piece : pieces) {
      for (const Run& run : *runs) {
        CopyPiece part = piece;
        part.src_offset += run.src * src_strides[axis];
        part.dst_offset += run.dst * dst_strides[axis];
        part.dims.push_back(run.length);
        part.src_strides.push_back(run.step * src_strides[axis]);
        part.dst_strides.push_back(dst_strides[axis]);
        finer.push_back(std::move(part));
      }
    }
    pieces = std::move(finer);
  }
  context.set_output(0,
                     emit_copy(context, {context.in(0)}, std::move(pieces), context.dtype(0), out));
  return {};
}

Status lower_pad(LowerContext& context) {
  const std::optional<Ints> pads = context.ints(1);
  if (!pads || (context.has_input(3) && !context.constant(3))) {
    return unsupported("pads that are not known");
  }
  Result<Amounts> by = amounts(context.shape(0).size(), *pads, context.ints(3));
  if (!by) return by.status();
  const std::string_view mode = context.attributes().get_string("mode", "constant");
  if (mode == "edge" || mode == "reflect" || mode == "wrap") {
    return lower_by_copying(context, mode, *by);
  }
  if (mode != "constant") return invalid("mode is none of constant, edge, reflect, wrap");
  std::uint64_t fill = 0;
  if (context.has_input(2)) {
    ConstantPtr value = context.constant(2);
    if (!value) return unsupported("a value to pad with that is not known");
    const DataType dtype = context.dtype(0);
    if (value->type.dtype != dtype && !value->as_doubles().empty()) {
      value = make_constant_scalar(dtype, value->as_doubles()[0]);
    }
    fill = element_bits(*value);
  }
  context.set_output(0, emit_pad(context, context.in(0), by->before, by->after, fill));
  return {};
}

Status upgrade_pad(UpgradeContext& context) {
  if (context.opset >= 11) return {};
  ints_to_input(context, context.opset < 2 ? "paddings" : "pads", 1);
  float_to_input(context, "value", 2);
  return {};
}

Result<Shape> crop_target(const Attributes& attributes, const Shape& in, const Ints& wanted) {
  Shape out = in;
  Ints axes;
  if (const auto given = attributes.get_ints("axes")) {
    Result<Ints> normal = normalise_axes(*given, in.size());
    if (!normal) return normal.status();
    axes = std::move(*normal);
  } else {
    for (std::size_t i = 0; i < in.size(); ++i) axes.push_back(static_cast<std::int64_t>(i));
  }
  if (axes.size() != wanted.size()) {
    return invalid("%zu sizes for %zu axes", wanted.size(), axes.size());
  }
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (wanted[i] < 0) return invalid("a size of %lld", static_cast<long long>(wanted[i]));
    out[static_cast<std::size_t>(axes[i])] = wanted[i];
  }
  return out;
}

Status infer_center_crop_pad(InferContext& context) {
  Result<std::optional<Ints>> wanted = host_ints(context, 1);
  if (!wanted) return wanted.status();
  if (!context.shape(0)) return context.set(0, context.dtype(0), std::nullopt);
  if (!*wanted) return context.set(0, context.dtype(0), Shape(context.shape(0)->size(), -1));
  Result<Shape> out = crop_target(context.attributes(), *context.shape(0), **wanted);
  if (!out) return out.status();
  return context.set(0, context.dtype(0), std::move(*out));
}

Status lower_center_crop_pad(LowerContext& context) {
  const Shape& in = context.shape(0);
  const Shape& out = context.out_shape(0);
  Amounts by{Shape(in.size(), 0), Shape(in.size(), 0)};
  for (std::size_t i = 0; i < in.size(); ++i) {
    by.before[i] = (out[i] - in[i]) / 2;
    by.after[i] = out[i] - in[i] - by.before[i];
  }
  context.set_output(0, emit_pad(context, context.in(0), by.before, by.after, 0));
  return {};
}

const Operator kTable[] = {
    {.name = "Pad",
     .since = 1,
     .min_inputs = 2,
     .max_inputs = 4,
     .attributes = {{"mode", AttributeSpec::String}},
     .host_inputs = 0b1110,
     .infer = infer_pad,
     .lower = lower_pad,
     .upgrade = upgrade_pad},
    {.name = "CenterCropPad",
     .since = 18,
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {{"axes", AttributeSpec::Ints}},
     .host_inputs = 0b10,
     .infer = infer_center_crop_pad,
     .lower = lower_center_crop_pad},
};

}  // namespace

const OperatorTable kPadOperators = kTable;

}  // namespace miniinfer
