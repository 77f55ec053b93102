// Random numbers: their types are known, nobody makes them.

#include "core/ops/families.hpp"
#include "core/ops/rules.hpp"

namespace miniinfer {
namespace {

DataType asked_type(const Attributes& attributes, DataType otherwise) {
  const auto asked = static_cast<DataType>(attributes.get_int("dtype", 0));
  return asked == DataType::Undefined ? otherwise : asked;
}

Status infer_random(InferContext& context) {
  const auto shape = context.attributes().get_ints("shape");
  if (!shape) return invalid("has no shape");
  const Shape out(shape->begin(), shape->end());
  if (!is_concrete(out)) return invalid("the shape %s has a negative size", to_string(out).c_str());
  return context.set(0, asked_type(context.attributes(), DataType::Float32), out);
}

Status infer_random_like(InferContext& context) {
  return context.set(0, asked_type(context.attributes(), context.dtype(0)), context.shape(0));
}

Status infer_multinomial(InferContext& context) {
  Shape out(2, -1);
  if (context.shape(0)) {
    if (context.shape(0)->size() != 2) return invalid("the input is not a matrix");
    out[0] = context.shape(0)->front();
  }
  out[1] = context.attributes().get_int("sample_size", 1);
  return context.set(0, asked_type(context.attributes(), DataType::Int32), std::move(out));
}

constexpr AttributeSpec kType = {"dtype", AttributeSpec::Int};
constexpr AttributeSpec kSeed = {"seed", AttributeSpec::Float};
constexpr AttributeSpec kShape = {"shape", AttributeSpec::Ints, true};
constexpr AttributeSpec kMean = {"mean", AttributeSpec::Float};
constexpr AttributeSpec kScale = {"scale", AttributeSpec::Float};
constexpr AttributeSpec kLow = {"low", AttributeSpec::Float};
constexpr AttributeSpec kHigh = {"high", AttributeSpec::Float};

Operator random(std::string_view name, std::int64_t since, int inputs,
                std::vector<AttributeSpec> attributes, Status (*infer)(InferContext&)) {
  Operator op;
  op.name = name;
  op.since = since;
  op.min_inputs = op.max_inputs = inputs;
  op.attributes = std::move(attributes);
  op.infer = infer;
  return op;
}

const Operator kTable[] = {
    random("RandomNormal", 1, 0, {kType, kMean, kScale, kSeed, kShape}, infer_random),
    random("RandomUniform", 1, 0, {kType, kLow, kHigh, kSeed, kShape}, infer_random),
    random("RandomNormalLike", 1, 1, {kType, kMean, kScale, kSeed}, infer_random_like),
    random("RandomUniformLike", 1, 1, {kType, kLow, kHigh, kSeed}, infer_random_like),
    random("Bernoulli", 15, 1, {kType, kSeed}, infer_random_like),
    random("Multinomial", 7, 1, {kType, kSeed, {"sample_size", AttributeSpec::Int}},
           infer_multinomial),
};

}  // namespace

const OperatorTable kRandomOperators = kTable;

}  // namespace miniinfer
