#include <algorithm>
#include <cmath>

#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"
#include "miniinfer/abi/op/resize.h"

namespace miniinfer {
namespace {

enum Input : std::size_t { kX, kRoi, kScales, kSizes };

int find_name(std::span<const std::string_view> names, std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  return found == names.end() ? -1 : static_cast<int>(found - names.begin());
}

constexpr std::string_view kModes[] = {"nearest", "linear", "cubic"};
constexpr std::string_view kCoordinates[] = {"half_pixel",         "half_pixel_symmetric",
                                             "pytorch_half_pixel", "align_corners",
                                             "asymmetric",         "tf_crop_and_resize"};
constexpr std::string_view kNearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                         "ceil"};

// What a Resize works out to for each axis.
struct Plan {
  Shape out;
  std::vector<double> scale, roi_begin, roi_end;
};

std::vector<double> host_numbers(const ConstantPtr& constant) {
  return constant ? constant->as_doubles() : std::vector<double>();
}

// `sizes`, `scales` and `roi` speak of the axes listed, or of all.
Result<Plan> plan_resize(const Attributes& attributes, const Shape& in, const ConstantPtr& roi,
                         const ConstantPtr& scales, const ConstantPtr& sizes) {
  const std::size_t rank = in.size();
  std::vector<std::int64_t> axes;
  if (const auto given = attributes.get_ints("axes")) {
    Result<std::vector<std::int64_t>> normal = normalise_axes(*given, rank);
    if (!normal) return normal.status();
    axes = std::move(*normal);
  } else {
    for (std::size_t i = 0; i < rank; ++i) axes.push_back(static_cast<std::int64_t>(i));
  }
  Plan plan{in, std::vector<double>(rank, 1), std::vector<double>(rank, 0),
            std::vector<double>(rank, 1)};
  const std::vector<double> region = host_numbers(roi);
  if (!region.empty() && region.size() == 2 * axes.size()) {
    for (std::size_t i = 0; i < axes.size(); ++i) {
      plan.roi_begin[static_cast<std::size_t>(axes[i])] = region[i];
      plan.roi_end[static_cast<std::size_t>(axes[i])] = region[axes.size() + i];
    }
  }
  const bool crops =
      attributes.get_string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize";
  const std::vector<double> factors = host_numbers(scales);
  const std::vector<std::int64_t> wanted = sizes ? sizes->as_ints() : std::vector<std::int64_t>();
  if (!factors.empty() && !wanted.empty()) return invalid("both scales and sizes are given");
  if (factors.empty() && wanted.empty()) return invalid("neither scales nor sizes are given");
  const std::size_t count = std::max(factors.size(), wanted.size());
  if (count != axes.size()) {
    return invalid("%zu scales or sizes for %zu axes", count, axes.size());
  }

  // One scale for all axes, the smallest or largest that fits, where the aspect ratio is kept.
  const std::string policy(attributes.get_string("keep_aspect_ratio_policy", "stretch"));
  double common = 0;
  if (!wanted.empty() && policy != "stretch") {
    const bool larger = policy == "not_smaller";
    if (!larger && policy != "not_larger") {
      return invalid("keep_aspect_ratio_policy is %s", policy.c_str());
    }
    for (std::size_t i = 0; i < axes.size(); ++i) {
      const double ratio = static_cast<double>(wanted[i]) /
                           static_cast<double>(in[static_cast<std::size_t>(axes[i])]);
      common = i == 0 ? ratio : larger ? std::max(common, ratio) : std::min(common, ratio);
    }
  }
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<std::size_t>(axes[i]);
    const auto size = static_cast<double>(in[axis]);
    if (!factors.empty()) {
      if (!(factors[i] > 0) || factors[i] > 1e9) return invalid("a scale is %g", factors[i]);
      const double span = crops ? plan.roi_end[axis] - plan.roi_begin[axis] : 1;
      // In float32, as ONNX specifies it: there 0.7 of 10 is 7.
      const float wanted_size = static_cast<float>(size * span) * static_cast<float>(factors[i]);
      plan.out[axis] = static_cast<std::int64_t>(std::max(std::floor(wanted_size), 0.0f));
      plan.scale[axis] = factors[i];
    } else if (common > 0) {
      plan.out[axis] = static_cast<std::int64_t>(std::floor(common * size + 0.5));
      plan.scale[axis] = common;
    } else {
      if (wanted[i] < 0) return invalid("a size is %lld", static_cast<long long>(wanted[i]));
      plan.out[axis] = wanted[i];
      plan.scale[axis] = size == 0 ? 1 : static_cast<double>(wanted[i]) / size;
    }
  }
  return plan;
}

bool known(const InferContext& context, std::size_t i) {
  return !context.has_input(i) || context.constant(i) != nullptr;
}

Status infer_resize(InferContext& context) {
  if (!is_concrete(context.shape(kX)) || !known(context, kRoi) || !known(context, kScales) ||
      !known(context, kSizes)) {
    std::optional<Shape> shape;
    if (context.shape(kX)) shape = Shape(context.shape(kX)->size(), -1);
    return context.set(0, context.dtype(kX), std::move(shape));
  }
  Result<Plan> plan = plan_resize(context.attributes(), *context.shape(kX), context.constant(kRoi),
                                  context.constant(kScales), context.constant(kSizes));
  if (!plan) return plan.status();
  return context.set(0, context.dtype(kX), std::move(plan->out));
}

Status lower_resize(LowerContext& context) {
  const Shape& in = context.shape(kX);
  if (in.size() > MINIINFER_MAX_RANK) {
    return unsupported("rank %zu: at most %d", in.size(), MINIINFER_MAX_RANK);
  }
  const Attributes& given = context.attributes();
  Result<Plan> plan = plan_resize(given, in, context.constant(kRoi), context.constant(kScales),
                                  context.constant(kSizes));
  if (!plan) return plan.status();
  miniinfer_resize_attrs attrs{};
  attrs.mode = find_name(kModes, given.get_string("mode", "nearest"));
  attrs.coordinate =
      find_name(kCoordinates, given.get_string("coordinate_transformation_mode", "half_pixel"));
  attrs.nearest = find_name(kNearest, given.get_string("nearest_mode", "round_prefer_floor"));
  if (attrs.mode < 0 || attrs.coordinate < 0 || attrs.nearest < 0) {
    return unsupported("mode %s, coordinates %s, nearest %s",
                       std::string(given.get_string("mode", "")).c_str(),
                       std::string(given.get_string("coordinate_transformation_mode", "")).c_str(),
                       std::string(given.get_string("nearest_mode", "")).c_str());
  }
  attrs.antialias = given.get_int("antialias", 0) != 0 ? 1 : 0;
  attrs.exclude_outside = given.get_int("exclude_outside", 0) != 0 ? 1 : 0;
  attrs.cubic_coeff = given.get_float("cubic_coeff_a", -0.75f);
  attrs.extrapolation = given.get_float("extrapolation_value", 0);
  for (std::size_t axis = 0; axis < in.size(); ++axis) {
    attrs.scale[axis] = plan->scale[axis];
    attrs.roi_begin[axis] = plan->roi_begin[axis];
    attrs.roi_end[axis] = plan->roi_end[axis];
  }
  context.set_output(0, context.emit(MINIINFER_RESIZE, make_attrs(attrs), {context.in(kX)},
                                     context.dtype(kX), context.out_shape(0)));
  return {};
}

// Before opset 11 coordinates were asymmetric, and their rounding was not written down. Upsample
// rounds down.
void use_old_coordinates(Attributes& attributes, const char* nearest = "floor") {
  attributes.set("coordinate_transformation_mode", std::string("asymmetric"));
  attributes.set("nearest_mode", std::string(nearest));
}

// Resize of opset 10 rounds down where an axis grows and up where it shrinks: so do its test in
// ONNX 1.5 and ONNX Runtime. Where axes do both the shrinking ones get a node before.
void use_coordinates_of_opset_10(UpgradeContext& context) {
  Node& node = context.node;
  const ConstantPtr scales = context.graph.value(node.inputs[2]).constant;
  std::vector<float> shrink;
  std::vector<float> grow;
  for (const double scale : scales ? scales->as_doubles() : std::vector<double>()) {
    shrink.push_back(std::min(static_cast<float>(scale), 1.0F));
    grow.push_back(std::max(static_cast<float>(scale), 1.0F));
  }
  const auto changes = [](float scale) { return scale != 1.0F; };
  const bool shrinks = std::any_of(shrink.begin(), shrink.end(), changes);
  const bool grows = std::any_of(grow.begin(), grow.end(), changes);
  if (shrinks && grows && node.attributes.get_string("mode", "nearest") == "nearest") {
    const auto add_scales = [&](const std::vector<float>& values) {
      const TensorType type{DataType::Float32, {static_cast<std::int64_t>(values.size())}};
      return context.graph.add_constant(make_constant(type, std::as_bytes(std::span(values))));
    };
    Node before = node;
    before.inputs[2] = add_scales(shrink);
    before.outputs = {context.graph.add_value({})};
    use_old_coordinates(before.attributes, "ceil");
    node.inputs = {before.outputs[0], kNoValue, add_scales(grow)};
    context.graph.add_node(std::move(before));
  }
  use_old_coordinates(node.attributes, shrinks && !grows ? "ceil" : "floor");
}

Status upgrade_resize(UpgradeContext& context) {
  Node& node = context.node;
  if (context.opset >= 11) {
    // Gone since opset 13. Rounding down where no half is taken off is rounding to the nearest.
    Attributes& attributes = node.attributes;
    if (attributes.get_string("coordinate_transformation_mode", "") != "tf_half_pixel_for_nn") {
      return {};
    }
    if (attributes.get_string("mode", "nearest") != "nearest" ||
        attributes.get_string("nearest_mode", "round_prefer_floor") != "floor") {
      return unsupported("tf_half_pixel_for_nn with another rounding than floor");
    }
    attributes.set("coordinate_transformation_mode", std::string("half_pixel"));
    attributes.set("nearest_mode", std::string("round_prefer_ceil"));
    return {};
  }
  if (node.inputs.size() != 2) return {};  // the schema says what is wrong
  node.inputs = {node.inputs[0], kNoValue, node.inputs[1]};
  use_coordinates_of_opset_10(context);
  return {};
}

// Upsample: scales were an attribute, then an input.
Status upgrade_upsample(UpgradeContext& context) {
  Node& node = context.node;
  if (context.opset < 9) {
    const auto scales = node.attributes.get_floats("scales");
    if (!scales) return invalid("scales are missing");
    const TensorType type{DataType::Float32, {static_cast<std::int64_t>(scales->size())}};
    const ValueId constant =
        context.graph.add_constant(make_constant(type, std::as_bytes(*scales)));
    node.inputs = {node.inputs[0], kNoValue, constant};
    node.attributes.erase("scales");
  } else if (node.inputs.size() == 2) {
    node.inputs = {node.inputs[0], kNoValue, node.inputs[1]};
  }
  if (node.attributes.get_string("mode", "nearest") == "bilinear") {
    node.attributes.set("mode", std::string("linear"));
  }
  node.op = "Resize";
  use_old_coordinates(node.attributes);
  return {};
}

const Operator kTable[] = {
    {.name = "Resize",
     .since = 10,
     .min_inputs = 1,
     .max_inputs = 4,
     .attributes = {{"antialias", AttributeSpec::Int},
                    {"axes", AttributeSpec::Ints},
                    {"coordinate_transformation_mode", AttributeSpec::String},
                    {"cubic_coeff_a", AttributeSpec::Float},
                    {"exclude_outside", AttributeSpec::Int},
                    {"extrapolation_value", AttributeSpec::Float},
                    {"keep_aspect_ratio_policy", AttributeSpec::String},
                    {"mode", AttributeSpec::String},
                    {"nearest_mode", AttributeSpec::String}},
     .host_inputs = 1u << kRoi | 1u << kScales | 1u << kSizes,
     .infer = infer_resize,
     .lower = lower_resize,
     .upgrade = upgrade_resize},
    {.name = "Upsample",
     .since = 7,
     .min_inputs = 1,
     .max_inputs = 2,
     .attributes = {{"mode", AttributeSpec::String}, {"scales", AttributeSpec::Floats}},
     .infer = infer_resize,
     .lower = lower_resize,
     .upgrade = upgrade_upsample},
};

}  // namespace

const OperatorTable kResizeOperators = kTable;

}  // namespace miniinfer
