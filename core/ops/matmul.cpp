#include <algorithm>
#include <map>
#include <numeric>
#include <string>

#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"
#include "core/ops/lowering_contract.hpp"

namespace miniinfer {
namespace {

// [.., m, k] x [.., k, n]; a vector on the left is a row, on the right a column.
Result<Shape> matmul_shape(const Shape& left, const Shape& right) {
  if (left.empty() || right.empty()) return invalid("a scalar has no matrix product");
  Shape a = left;
  Shape b = right;
  if (a.size() == 1) a.insert(a.begin(), 1);
  if (b.size() == 1) b.push_back(1);
  const std::int64_t k_left = a.back();
  const std::int64_t k_right = b[b.size() - 2];
  if (k_left >= 0 && k_right >= 0 && k_left != k_right) {
    return invalid("%s and %s do not multiply: %lld and %lld differ", to_string(left).c_str(),
                   to_string(right).c_str(), static_cast<long long>(k_left),
                   static_cast<long long>(k_right));
  }
  Result<Shape> batch = broadcast(Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2));
  if (!batch) return batch.status();
  Shape out = std::move(*batch);
  if (left.size() > 1) out.push_back(a[a.size() - 2]);
  if (right.size() > 1) out.push_back(b.back());
  return out;
}

Status infer_matmul(InferContext& context) {
  Result<DataType> dtype = common_type(context, 0, 2);
  if (!dtype) return dtype.status();
  if (!context.shape(0) || !context.shape(1)) return context.set(0, *dtype, std::nullopt);
  Result<Shape> shape = matmul_shape(*context.shape(0), *context.shape(1));
  if (!shape) return shape.status();
  return context.set(0, *dtype, std::move(*shape));
}

ValueId emit_matmul(LowerContext& context, ValueId a, ValueId b) {
  const Shape left = context.shape_of(a);
  const Shape right = context.shape_of(b);
  if (left.size() == 1) a = context.view(a, {1, left[0]});
  if (right.size() == 1) b = context.view(b, {right[0], 1});
  return emit_contract(context, a, b, false, false);
}

Status lower_matmul(LowerContext& context) {
  const ValueId made = emit_matmul(context, context.in(0), context.in(1));
  context.set_output(0, context.view(made, context.out_shape(0)));
  return {};
}

// out = a x b of integers, each with its zero point taken off, in int32.
Status infer_matmul_integer(InferContext& context) {
  if (!context.shape(0) || !context.shape(1)) {
    return context.set(0, DataType::Int32, std::nullopt);
  }
  Result<Shape> shape = matmul_shape(*context.shape(0), *context.shape(1));
  if (!shape) return shape.status();
  return context.set(0, DataType::Int32, std::move(*shape));
}

Status lower_matmul_integer(LowerContext& context) {
  ValueId sides[2];
  for (std::size_t i = 0; i < 2; ++i) {
    sides[i] = emit_cast(context, context.in(i), DataType::Int32);
    if (!context.has_input(i + 2)) continue;
    ValueId zero = emit_cast(context, context.in(i + 2), DataType::Int32);
    // A zero point for each row of the left side stands against its columns.
    const Shape& shape = context.shape(i + 2);
    if (i == 0 && shape.size() == 1 && shape[0] > 1) zero = context.view(zero, {shape[0], 1});
    sides[i] = emit_binary(context, MINIINFER_PW_SUB, sides[i], zero);
  }
  const ValueId made = emit_matmul(context, sides[0], sides[1]);
  context.set_output(0, context.view(made, context.out_shape(0)));
  return {};
}

Status infer_gemm(InferContext& context) {
  Result<DataType> dtype = common_type(context, 0, 3);
  if (!dtype) return dtype.status();
  if (!context.shape(0) || !context.shape(1)) return context.set(0, *dtype, Shape{-1, -1});
  const Shape& a = *context.shape(0);
  const Shape& b = *context.shape(1);
  if (a.size() != 2 || b.size() != 2) {
    return invalid("%s and %s are not two matrices", to_string(a).c_str(), to_string(b).c_str());
  }
  const bool ta = context.attributes().get_int("transA", 0) != 0;
  const bool tb = context.attributes().get_int("transB", 0) != 0;
  const std::int64_t k_left = a[ta ? 0 : 1];
  const std::int64_t k_right = b[tb ? 1 : 0];
  if (k_left >= 0 && k_right >= 0 && k_left != k_right) {
    return invalid("%s%s and %s%s do not multiply: %lld and %lld differ", to_string(a).c_str(),
                   ta ? " transposed" : "", to_string(b).c_str(), tb ? " transposed" : "",
                   static_cast<long long>(k_left), static_cast<long long>(k_right));
  }
  const Shape out = {a[ta ? 1 : 0], b[tb ? 0 : 1]};
  if (context.has_input(2) && context.shape(2)) {
    Result<Shape> with = broadcast(out, *context.shape(2));
    if (!with || (is_concrete(out) && is_concrete(*with) && *with != out)) {
      return invalid("C of %s does not broadcast to %s", to_string(*context.shape(2)).c_str(),
                     to_string(out).c_str());
    }
  }
  return context.set(0, *dtype, out);
}

Status lower_gemm(LowerContext& context) {
  const Attributes& attributes = context.attributes();
  const double alpha = attributes.get_float("alpha", 1);
  const double beta = attributes.get_float("beta", 1);
  const DataType dtype = context.dtype(0);
  const Shape& out = context.out_shape(0);
  const ValueId product =
      emit_contract(context, context.in(0), context.in(1), attributes.get_int("transA", 0) != 0,
                    attributes.get_int("transB", 0) != 0);
  const bool adds = context.has_input(2) && beta != 0;
  if (!adds && alpha == 1) {
    context.set_output(0, product);
    return {};
  }
  std::vector<ValueId> inputs = {product};
  if (adds) inputs.push_back(context.in(2));
  Formula f(context, inputs, formula_type(dtype));
  auto value = f.in(0);
  if (alpha != 1) value = f.op(MINIINFER_PW_MUL, value, f.number(alpha));
  if (adds) {
    auto c = f.in(1);
    if (beta != 1) c = f.op(MINIINFER_PW_MUL, c, f.number(beta));
    value = f.op(MINIINFER_PW_ADD, value, c);
  }
  context.set_output(0, f.finish(value, dtype, out));
  return {};
}

// Before opset 7 C was broadcast by an attribute, along the same axes as now.
Status upgrade_gemm(UpgradeContext& context) {
  context.node.attributes.erase("broadcast");
  return {};
}

const Operator kTable[] = {
    {.name = "MatMul",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_matmul,
     .lower = lower_matmul},
    {.name = "MatMulInteger",
     .since = 10,
     .min_inputs = 2,
     .max_inputs = 4,
     .infer = infer_matmul_integer,
     .lower = lower_matmul_integer},
    {.name = "Gemm",
     .min_inputs = 2,
     .max_inputs = 3,
     .attributes = {{"alpha", AttributeSpec::Float},
                    {"beta", AttributeSpec::Float},
                    {"transA", AttributeSpec::Int},
                    {"transB", AttributeSpec::Int}},
     .infer = infer_gemm,
     .lower = lower_gemm,
     .upgrade = upgrade_gemm},
};

}  // namespace

const OperatorTable kMatmulOperators = kTable;

}  // namespace miniinfer
