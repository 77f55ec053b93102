#include <algorithm>

#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"
#include "miniinfer/abi/op/gather.h"

namespace miniinfer {
namespace {

Status check_indices(const InferContext& context) {
  const DataType dtype = context.dtype(1);
  if (dtype == DataType::Undefined || dtype == DataType::Int32 || dtype == DataType::Int64) {
    return {};
  }
  return invalid("indices are %s, not int32 or int64", std::string(to_string(dtype)).c_str());
}

Status infer_gather(InferContext& context) {
  if (Status status = check_indices(context); !status.ok()) return status;
  if (!context.shape(0) || !context.shape(1)) return context.set(0, context.dtype(0), std::nullopt);
  const Shape& data = *context.shape(0);
  const Shape& indices = *context.shape(1);
  Result<std::int64_t> axis = normalise_axis(context.attributes().get_int("axis", 0), data.size());
  if (!axis) return axis.status();
  Shape out(data.begin(), data.begin() + *axis);
  out.insert(out.end(), indices.begin(), indices.end());
  out.insert(out.end(), data.begin() + *axis + 1, data.end());
  return context.set(0, context.dtype(0), std::move(out));
}

Status lower_gather(LowerContext& context) {
  const Shape& data = context.shape(0);
  Result<std::int64_t> axis = normalise_axis(context.attributes().get_int("axis", 0), data.size());
  if (!axis) return axis.status();
  const ValueId made =
      emit_gather(context, context.in(0), context.in(1), static_cast<std::size_t>(*axis));
  context.set_output(0, context.view(made, context.out_shape(0)));
  return {};
}

Status infer_gather_elements(InferContext& context) {
  if (Status status = check_indices(context); !status.ok()) return status;
  if (context.shape(0) && context.shape(1)) {
    if (context.shape(0)->size() != context.shape(1)->size()) {
      return invalid("data %s and indices %s have different ranks",
                     to_string(*context.shape(0)).c_str(), to_string(*context.shape(1)).c_str());
    }
    Result<std::int64_t> axis =
        normalise_axis(context.attributes().get_int("axis", 0), context.shape(0)->size());
    if (!axis) return axis.status();
  }
  return context.set(0, context.dtype(0), context.shape(1));
}

Status check_rank(const Shape& shape) {
  if (shape.size() <= MINIINFER_MAX_RANK) return {};
  return unsupported("rank %zu: at most %d", shape.size(), MINIINFER_MAX_RANK);
}

Status lower_gather_elements(LowerContext& context) {
  if (Status status = check_rank(context.shape(0)); !status.ok()) return status;
  Result<std::int64_t> axis =
      normalise_axis(context.attributes().get_int("axis", 0), context.shape(0).size());
  if (!axis) return axis.status();
  miniinfer_gather_attrs attrs{};
  attrs.mode = MINIINFER_GATHER_ELEMENTS;
  attrs.axis = static_cast<std::int32_t>(*axis);
  context.set_output(
      0, context.emit(MINIINFER_GATHER, make_attrs(attrs), {context.in(0), context.in(1)},
                      context.dtype(0), context.out_shape(0)));
  return {};
}

// How many axes of data a tuple of indices names, and the checks that go with it.
Result<std::size_t> tuple_length(const Shape& data, const Shape& indices, std::int64_t batch) {
  if (data.empty() || indices.empty()) return invalid("data and indices need at least one axis");
  if (batch < 0 || batch >= static_cast<std::int64_t>(std::min(data.size(), indices.size()))) {
    return invalid("batch_dims is %lld", static_cast<long long>(batch));
  }
  const std::int64_t length = indices.back();
  if (length < 0) return invalid("the length of an index tuple is not known");
  if (length > static_cast<std::int64_t>(data.size()) - batch) {
    return invalid("index tuples of length %lld into %s", static_cast<long long>(length),
                   to_string(data).c_str());
  }
  return static_cast<std::size_t>(length);
}

Status infer_gather_nd(InferContext& context) {
  if (Status status = check_indices(context); !status.ok()) return status;
  if (!context.shape(0) || !context.shape(1) || context.shape(1)->empty() ||
      context.shape(1)->back() < 0) {
    return context.set(0, context.dtype(0), std::nullopt);
  }
  const Shape& data = *context.shape(0);
  const Shape& indices = *context.shape(1);
  const std::int64_t batch = context.attributes().get_int("batch_dims", 0);
  Result<std::size_t> length = tuple_length(data, indices, batch);
  if (!length) return length.status();
  Shape out(indices.begin(), indices.end() - 1);
  out.insert(out.end(), data.begin() + batch + static_cast<std::ptrdiff_t>(*length), data.end());
  return context.set(0, context.dtype(0), std::move(out));
}

Status lower_gather_nd(LowerContext& context) {
  if (Status status = check_rank(context.shape(0)); !status.ok()) return status;
  if (Status status = check_rank(context.shape(1)); !status.ok()) return status;
  if (Status status = check_rank(context.out_shape(0)); !status.ok()) return status;
  miniinfer_gather_attrs attrs{};
  attrs.mode = MINIINFER_GATHER_ND;
  attrs.batch_dims = static_cast<std::int32_t>(context.attributes().get_int("batch_dims", 0));
  context.set_output(
      0, context.emit(MINIINFER_GATHER, make_attrs(attrs), {context.in(0), context.in(1)},
                      context.dtype(0), context.out_shape(0)));
  return {};
}

Result<std::int32_t> combine_of(const Attributes& attributes) {
  static constexpr std::string_view kNames[] = {"none", "add", "mul", "max", "min"};
  const std::string_view name = attributes.get_string("reduction", "none");
  const auto found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames)) return invalid("reduction is %s", std::string(name).c_str());
  return static_cast<std::int32_t>(found - std::begin(kNames));
}

Status infer_scatter_elements(InferContext& context) {
  if (Status status = check_indices(context); !status.ok()) return status;
  if (context.shape(0)) {
    Result<std::int64_t> axis =
        normalise_axis(context.attributes().get_int("axis", 0), context.shape(0)->size());
    if (!axis) return axis.status();
  }
  if (context.shape(1) && context.shape(2) && is_concrete(context.shape(1)) &&
      is_concrete(context.shape(2)) && *context.shape(1) != *context.shape(2)) {
    return invalid("indices are %s, updates %s", to_string(*context.shape(1)).c_str(),
                   to_string(*context.shape(2)).c_str());
  }
  return infer_same(context);
}

Status lower_scatter(LowerContext& context) {
  for (std::size_t i = 0; i < 3; ++i) {
    if (Status status = check_rank(context.shape(i)); !status.ok()) return status;
  }
  Result<std::int32_t> combine = combine_of(context.attributes());
  if (!combine) return combine.status();
  miniinfer_scatter_attrs attrs{};
  attrs.mode = MINIINFER_GATHER_ND;
  attrs.combine = *combine;
  if (context.node().op == "ScatterElements") {
    Result<std::int64_t> axis =
        normalise_axis(context.attributes().get_int("axis", 0), context.shape(0).size());
    if (!axis) return axis.status();
    attrs.mode = MINIINFER_GATHER_ELEMENTS;
    attrs.axis = static_cast<std::int32_t>(*axis);
  }
  context.set_output(0, context.emit(MINIINFER_SCATTER, make_attrs(attrs),
                                     {context.in(0), context.in(1), context.in(2)},
                                     context.dtype(0), context.out_shape(0)));
  return {};
}

Status infer_scatter_nd(InferContext& context) {
  if (Status status = check_indices(context); !status.ok()) return status;
  if (is_concrete(context.shape(0)) && is_concrete(context.shape(1)) &&
      is_concrete(context.shape(2))) {
    const Shape& data = *context.shape(0);
    const Shape& indices = *context.shape(1);
    Result<std::size_t> length = tuple_length(data, indices, 0);
    if (!length) return length.status();
    Shape wanted(indices.begin(), indices.end() - 1);
    wanted.insert(wanted.end(), data.begin() + static_cast<std::ptrdiff_t>(*length), data.end());
    if (*context.shape(2) != wanted) {
      return invalid("updates are %s, not %s", to_string(*context.shape(2)).c_str(),
                     to_string(wanted).c_str());
    }
  }
  return infer_same(context);
}

Status upgrade_scatter(UpgradeContext& context) {
  context.node.op = "ScatterElements";
  return {};
}

// Compress becomes Gather by the positions where the condition holds.
Status upgrade_compress(UpgradeContext& context) {
  Node& node = context.node;
  if (node.inputs.size() != 2) return invalid("has %zu inputs, takes 2", node.inputs.size());
  const auto add = [&](const char* op, std::vector<ValueId> inputs) {
    Node made;
    made.op = op;
    made.inputs = std::move(inputs);
    made.outputs = {context.graph.add_value({})};
    made.origin = node.origin;
    const ValueId out = made.outputs[0];
    context.graph.add_node(std::move(made));
    return out;
  };
  const std::int64_t flat[] = {-1};
  const ValueId flat_shape = context.graph.add_constant(make_constant_ints(flat));
  if (node.attributes.find("axis") == nullptr) {
    node.inputs[0] = add("Reshape", {node.inputs[0], flat_shape});
  }
  const ValueId positions = add("NonZero", {node.inputs[1]});
  node.inputs[1] = add("Reshape", {positions, flat_shape});
  node.op = "Gather";
  return {};
}

const Operator kTable[] = {
    {.name = "Compress",
     .since = 9,
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {{"axis", AttributeSpec::Int}},
     .upgrade = upgrade_compress},
    {.name = "Gather",
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {{"axis", AttributeSpec::Int}},
     .infer = infer_gather,
     .lower = lower_gather},
    {.name = "GatherElements",
     .since = 11,
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {{"axis", AttributeSpec::Int}},
     .infer = infer_gather_elements,
     .lower = lower_gather_elements},
    {.name = "GatherND",
     .since = 11,
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {{"batch_dims", AttributeSpec::Int}},
     .infer = infer_gather_nd,
     .lower = lower_gather_nd},
    {.name = "ScatterElements",
     .since = 11,
     .min_inputs = 3,
     .max_inputs = 3,
     .attributes = {{"axis", AttributeSpec::Int}, {"reduction", AttributeSpec::String}},
     .infer = infer_scatter_elements,
     .lower = lower_scatter},
    {.name = "ScatterND",
     .since = 11,
     .min_inputs = 3,
     .max_inputs = 3,
     .attributes = {{"reduction", AttributeSpec::String}},
     .infer = infer_scatter_nd,
     .lower = lower_scatter},
    {.name = "Scatter",
     .since = 9,
     .min_inputs = 3,
     .max_inputs = 3,
     .attributes = {{"axis", AttributeSpec::Int}},
     .infer = infer_scatter_elements,
     .lower = lower_scatter,
     .upgrade = upgrade_scatter},
};

}  // namespace

const OperatorTable kGatherOperators = kTable;

}  // namespace miniinfer
