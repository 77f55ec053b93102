// Operators whose output is known when their HOST inputs are.

#include <cmath>
#include <cstring>
#include <limits>

#include "core/base/float16.hpp"
#include "core/base/format.hpp"
#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"

namespace miniinfer {
namespace {

template <class T>
ConstantPtr constant_of(DataType type, const std::vector<T>& values, Shape shape) {
  return make_constant({type, std::move(shape)}, std::as_bytes(std::span(values)));
}

ConstantPtr strings_of(std::vector<std::string> values, Shape shape) {
  auto constant = std::make_shared<Constant>();
  constant->type = {DataType::String, std::move(shape)};
  constant->strings = std::move(values);
  return constant;
}

// The attribute that holds the value, as a tensor; null where it is none of these.
ConstantPtr constant_from(const std::string& name, const AttributeValue& value) {
  if (name == "value") {
    const auto* tensor = std::get_if<ConstantPtr>(&value);
    return tensor != nullptr ? *tensor : nullptr;
  }
  if (const auto* number = std::get_if<float>(&value)) {
    return constant_of<float>(DataType::Float32, {*number}, {});
  }
  if (const auto* number = std::get_if<std::int64_t>(&value)) {
    return constant_of<std::int64_t>(DataType::Int64, {*number}, {});
  }
  if (const auto* text = std::get_if<std::string>(&value)) return strings_of({*text}, {});
  if (const auto* list = std::get_if<std::vector<float>>(&value)) {
    return constant_of(DataType::Float32, *list, {static_cast<std::int64_t>(list->size())});
  }
  if (const auto* list = std::get_if<std::vector<std::int64_t>>(&value)) {
    return make_constant_ints(*list);
  }
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    return strings_of(*list, {static_cast<std::int64_t>(list->size())});
  }
  return nullptr;
}

Status infer_constant(InferContext& context) {
  for (const auto& [name, value] : context.attributes()) {
    if (ConstantPtr constant = constant_from(name, value)) {
      return context.set_constant(0, std::move(constant));
    }
  }
  return invalid("has no value");
}

Status lower_constant(LowerContext& context) {
  for (const auto& [name, value] : context.attributes()) {
    if (ConstantPtr constant = constant_from(name, value)) {
      context.set_output(0, context.constant_value(std::move(constant)));
      return {};
    }
  }
  return invalid("has no value");
}

ConstantPtr fill_element(const Attributes& attributes) {
  const AttributeValue* value = attributes.find("value");
  if (value == nullptr) return make_constant_scalar(DataType::Float32, 0);
  const auto* tensor = std::get_if<ConstantPtr>(value);
  return tensor != nullptr ? *tensor : nullptr;
}

Status infer_constant_of_shape(InferContext& context) {
  const ConstantPtr element = fill_element(context.attributes());
  if (!element || product(element->type.shape, 0, element->type.shape.size()) != 1) {
    return invalid("attribute value is not one element");
  }
  Result<std::optional<std::vector<std::int64_t>>> shape = host_ints(context, 0);
  if (!shape) return shape.status();
  if (*shape && !is_concrete(**shape)) {
    return invalid("the shape %s has a negative size", to_string(**shape).c_str());
  }
  return context.set(0, element->type.dtype, std::move(*shape));
}

Status lower_constant_of_shape(LowerContext& context) {
  context.set_output(
      0, emit_filled(context, fill_element(context.attributes()), context.out_shape(0)));
  return {};
}

// start, limit and delta of a Range, exact for every type it takes.
struct RangeValues {
  bool integers;
  std::int64_t start_int, delta_int;
  double start, delta;
  std::int64_t count;
};

Result<RangeValues> range_values(DataType type, const ConstantPtr (&operands)[3]) {
  RangeValues out{is_integer(type), 0, 0, 0, 0, 0};
  double limit = 0;
  std::int64_t limit_int = 0;
  double* const numbers[] = {&out.start, &limit, &out.delta};
  std::int64_t* const integers[] = {&out.start_int, &limit_int, &out.delta_int};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::vector<double> values = operands[i]->as_doubles();
    if (values.size() != 1) return invalid("input %zu is not one number", i);
    *numbers[i] = values[0];
    if (out.integers) *integers[i] = operands[i]->as_ints()[0];
  }
  if (out.delta == 0) return invalid("the step is 0");
  double count = 0;
  if (out.integers) {
    __extension__ using Wide = __int128;
    const Wide span = static_cast<Wide>(limit_int) - out.start_int;
    const Wide step = out.delta_int;
    const Wide whole = span / step + (span % step != 0 && (span > 0) == (step > 0) ? 1 : 0);
    count = static_cast<double>(whole);
  } else {
    count = std::ceil((limit - out.start) / out.delta);
  }
  if (!(count < 0x1p62)) return invalid("a range of %g elements", count);
  out.count = count > 0 ? static_cast<std::int64_t>(count) : 0;
  return out;
}

Status infer_range(InferContext& context) {
  Result<DataType> type = common_type(context, 0, 3);
  if (!type) return type.status();
  const ConstantPtr operands[] = {context.constant(0), context.constant(1), context.constant(2)};
  if (!operands[0] || !operands[1] || !operands[2]) return context.set(0, *type, Shape{-1});
  Result<RangeValues> values = range_values(*type, operands);
  if (!values) return values.status();
  return context.set(0, *type, Shape{values->count});
}

template <class T, class Convert>
ConstantPtr range_constant(DataType type, std::int64_t count, Convert element) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = element(i);
  return constant_of(type, values, {count});
}

Status lower_range(LowerContext& context) {
  const ConstantPtr operands[] = {context.constant(0), context.constant(1), context.constant(2)};
  if (!operands[0] || !operands[1] || !operands[2]) return unsupported("bounds that are not known");
  const DataType type = context.dtype(0);
  Result<RangeValues> range = range_values(type, operands);
  if (!range) return range.status();
  constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;
  if (range->count > kMostBytes * 8 / bits(type)) {
    return {Code::LimitExceeded,
            format("a range of %lld elements of %s", static_cast<long long>(range->count),
                   to_string(type).data())};
  }
  const auto number = [&](std::int64_t i) {
    return range->start + static_cast<double>(i) * range->delta;
  };
  // The sum fits; the product need not.
  const auto integer = [&](std::int64_t i) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(range->start_int) +
                                     static_cast<std::uint64_t>(i) *
                                         static_cast<std::uint64_t>(range->delta_int));
  };
  const std::int64_t count = range->count;
  ConstantPtr values;
  switch (type) {
    case DataType::Float32:
      values =
          range_constant<float>(type, count, [&](auto i) { return static_cast<float>(number(i)); });
      break;
    case DataType::Float64:
      values = range_constant<double>(type, count, number);
      break;
    case DataType::Float16:
      values = range_constant<std::uint16_t>(
          type, count, [&](auto i) { return half_from_float(static_cast<float>(number(i))); });
      break;
    case DataType::BFloat16:
      values = range_constant<std::uint16_t>(
          type, count, [&](auto i) { return bfloat_from_float(static_cast<float>(number(i))); });
      break;
    case DataType::Int16:
      values = range_constant<std::int16_t>(
          type, count, [&](auto i) { return static_cast<std::int16_t>(integer(i)); });
      break;
    case DataType::Int32:
      values = range_constant<std::int32_t>(
          type, count, [&](auto i) { return static_cast<std::int32_t>(integer(i)); });
      break;
    case DataType::Int64:
      values = range_constant<std::int64_t>(type, count, integer);
      break;
    default:
      return unsupported("a range of %s", to_string(type).data());
  }
  context.set_output(0, context.constant_value(std::move(values)));
  return {};
}

const Operator kTable[] = {
    {.name = "Constant",
     .since = 1,
     .attributes = {{"value", AttributeSpec::Tensor},
                    {"value_float", AttributeSpec::Float},
                    {"value_floats", AttributeSpec::Floats},
                    {"value_int", AttributeSpec::Int},
                    {"value_ints", AttributeSpec::Ints},
                    {"value_string", AttributeSpec::String},
                    {"value_strings", AttributeSpec::Strings}},
     .infer = infer_constant,
     .lower = lower_constant},
    {.name = "ConstantOfShape",
     .since = 9,
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {{"value", AttributeSpec::Tensor}},
     .host_inputs = 0b1,
     .infer = infer_constant_of_shape,
     .lower = lower_constant_of_shape},
    {.name = "Range",
     .since = 11,
     .min_inputs = 3,
     .max_inputs = 3,
     .attributes = {{"stash_type", AttributeSpec::Int}},
     .host_inputs = 0b111,
     .infer = infer_range,
     .lower = lower_range},
};

}  // namespace

const OperatorTable kConstantOperators = kTable;

}  // namespace miniinfer
