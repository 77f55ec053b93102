#include <algorithm>
#include <cctype>

#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"
#include "core/ops/narrow_types.hpp"

namespace miniinfer {
namespace {

Status infer_cast(InferContext& context) {
  const auto to = static_cast<DataType>(context.attributes().get_int("to", 0));
  if (to_string(to) == "undefined") {
    return invalid("attribute to is %lld, which is no element type", static_cast<long long>(to));
  }
  return context.set(0, to, context.shape(0));
}

Status infer_cast_like(InferContext& context) {
  return context.set(0, context.dtype(1), context.shape(0));
}

Status lower_cast(LowerContext& context) {
  const DataType from = context.dtype(0);
  const DataType to = context.out_dtype(0);
  if (from == to) {
    context.set_output(0, context.in(0));
    return {};
  }
  if (!(is_pointwise_type(from) || is_narrow_type(from)) ||
      !(is_pointwise_type(to) || is_narrow_type(to))) {
    return unsupported("a cast from %s to %s", to_string(from).data(), to_string(to).data());
  }
  const bool saturate = context.attributes().get_int("saturate", 1) != 0;
  const std::string_view round = context.attributes().get_string("round_mode", "up");
  if (round != "up" && round != "down" && round != "nearest") {
    return invalid("round_mode is none of up, down, nearest");
  }
  ValueId value = context.in(0);
  if (is_narrow_type(from)) value = emit_widen(context, value);
  context.set_output(0, is_narrow_type(to) ? emit_narrow(context, value, to, saturate, round)
                                           : emit_cast(context, value, to));
  return {};
}

// In opset 1 the type was a name: "FLOAT".
Status upgrade_cast(UpgradeContext& context) {
  if (context.opset >= 6) return {};
  std::string name(context.node.attributes.get_string("to", ""));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (name == "float") name = "float32";
  if (name == "double") name = "float64";
  const DataType type = data_type_from(name);
  if (type == DataType::Undefined) return invalid("attribute to is no element type");
  context.node.attributes.set("to", static_cast<std::int64_t>(type));
  return {};
}

Status infer_bit_cast(InferContext& context) {
  if (Status status = infer_cast(context); !status.ok()) return status;
  const auto to = static_cast<DataType>(context.attributes().get_int("to", 0));
  const DataType from = context.dtype(0);
  if (from != DataType::Undefined && (bits(from) != bits(to) || bits(to) == 0)) {
    return invalid("%s and %s are not of one width", to_string(from).data(), to_string(to).data());
  }
  return {};
}

Status lower_bit_cast(LowerContext& context) {
  context.set_output(0, context.view_as(context.in(0), context.out_dtype(0), context.shape(0)));
  return {};
}

const Operator kTable[] = {
    {.name = "Cast",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {{"to", AttributeSpec::Int, true},
                    {"saturate", AttributeSpec::Int},
                    {"round_mode", AttributeSpec::String}},
     .infer = infer_cast,
     .lower = lower_cast,
     .upgrade = upgrade_cast},
    {.name = "CastLike",
     .since = 15,
     .min_inputs = 2,
     .max_inputs = 2,
     .attributes = {{"saturate", AttributeSpec::Int}, {"round_mode", AttributeSpec::String}},
     .infer = infer_cast_like,
     .lower = lower_cast},
    {.name = "BitCast",
     .since = 26,
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {{"to", AttributeSpec::Int, true}},
     .infer = infer_bit_cast,
     .lower = lower_bit_cast},
};

}  // namespace

const OperatorTable kCastOperators = kTable;

}  // namespace miniinfer
