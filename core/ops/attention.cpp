// Attention and the rotation of its operands. Attention is attention/1 where that has all of it,
// and otherwise products, pointwise programs and a softmax.

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"
#include "core/ops/lowering_contract.hpp"
#include "core/ops/lowering_reduce.hpp"
#include "miniinfer/abi/op/attention.h"

namespace miniinfer {
namespace {

enum AttentionInput : std::size_t { kQ, kK, kV, kMask, kPastKey, kPastValue, kNonpad };
enum AttentionOutput : std::size_t { kY, kPresentKey, kPresentValue, kScores };

Status misfit(const char* what, const Shape& shape, const Shape& with) {
  return invalid("%s %s do not fit %s", what, to_string(shape).c_str(), to_string(with).c_str());
}

// -1 where a size is not known.
struct AttentionSizes {
  std::int64_t batch, heads, groups, queries, past, keys, depth, width;  // keys: past included
};

// An operand as [batch, heads, sequence, depth], which may be given as [batch, sequence, heads x
// depth]. Empty where it cannot be.
Shape split_heads(const Shape& given, std::int64_t heads) {
  if (given.size() == 4) return given;
  if (given.size() != 3 || heads < 1 || (given[2] >= 0 && given[2] % heads != 0)) return {};
  return {given[0], heads, given[1], given[2] < 0 ? -1 : given[2] / heads};
}

bool may_equal(std::int64_t a, std::int64_t b) { return a < 0 || b < 0 || a == b; }

Status read_sizes(const Attributes& attributes, const Shape& given_q, const Shape& given_k,
                  const Shape& given_v, const Shape* past, AttentionSizes& sizes) {
  const std::int64_t groups = attributes.get_int("kv_num_heads", 0);
  const Shape q = split_heads(given_q, attributes.get_int("q_num_heads", 0));
  const Shape k = split_heads(given_k, groups), v = split_heads(given_v, groups);
  if (q.empty() || k.empty() || v.empty() || given_q.size() != given_k.size() ||
      given_q.size() != given_v.size() || !may_equal(q[0], k[0]) || !may_equal(q[0], v[0]) ||
      !may_equal(k[1], v[1]) || !may_equal(k[2], v[2]) || !may_equal(q[3], k[3]) ||
      (q[1] >= 0 && k[1] >= 0 && (k[1] == 0 || q[1] % k[1] != 0)) ||
      (past != nullptr && past->size() != 4)) {
    return misfit("keys and values, or q_num_heads and kv_num_heads: keys of", given_k, given_q);
  }
  sizes = {q[0], q[1], k[1], q[2], past != nullptr ? (*past)[2] : 0, k[2], q[3], v[3]};
  sizes.keys = sizes.past < 0 || sizes.keys < 0 ? -1 : sizes.past + sizes.keys;
  return {};
}

Status infer_attention(InferContext& context) {
  const bool has_past = context.has_input(kPastKey);
  if (has_past != context.has_input(kPastValue) || (has_past && context.has_input(kNonpad))) {
    return invalid("past keys and values come together, and without nonpad_kv_seqlen");
  }
  Status status = check_type(context, kQ, TypeRule::Float);
  if (status.ok()) status = check_type(context, kV, TypeRule::Float);
  if (!status.ok()) return status;
  const Result<DataType> dtype = common_type(context, kQ, kK + 1);
  if (!dtype) return dtype.status();
  const auto& q = context.shape(kQ);
  const bool known =
      q && context.shape(kK) && context.shape(kV) && (!has_past || context.shape(kPastKey));
  Shape shapes[4];
  if (known) {
    AttentionSizes s{};
    status = read_sizes(context.attributes(), *q, *context.shape(kK), *context.shape(kV),
                        has_past ? &*context.shape(kPastKey) : nullptr, s);
    if (!status.ok()) return status;
    shapes[kY] = {s.batch, s.heads, s.queries, s.width};
    if (q->size() == 3) {
      shapes[kY] = {s.batch, s.queries, s.width < 0 || s.heads < 0 ? -1 : s.heads * s.width};
    }
    shapes[kPresentKey] = {s.batch, s.groups, s.keys, s.depth};
    shapes[kPresentValue] = {s.batch, s.groups, s.keys, s.width};
    shapes[kScores] = {s.batch, s.heads, s.queries, s.keys};
  }
  for (std::size_t i = 0; i < 4 && status.ok(); ++i) {
    status = context.set(i, i == kPresentValue ? context.dtype(kV) : *dtype,
                         known ? std::optional(std::move(shapes[i])) : std::nullopt);
  }
  return status;
}

class AttentionLowering {
 public:
  AttentionLowering(LowerContext& context, const AttentionSizes& sizes)
      : context_(context),
        attributes_(context.attributes()),
        s_(sizes),
        dtype_(context.dtype(kQ)),
        is_flat_(context.shape(kQ).size() == 3),
        is_causal_(attributes_.get_int("is_causal", 0) != 0),
        softcap_(attributes_.get_float("softcap", 0)),
        precision_(static_cast<DataType>(
            attributes_.get_int("softmax_precision", static_cast<std::int64_t>(dtype_)))) {
    const float standard = 1 / std::sqrt(static_cast<float>(std::max<std::int64_t>(s_.depth, 1)));
    scale_ = attributes_.get_float("scale", standard);
  }

  Status run() {
    for (const std::size_t i : {kQ, kK, kV}) {
      const Shape whole = {s_.batch, i == kQ ? s_.heads : s_.groups, s_.past,
                           i == kV ? s_.width : s_.depth};
      ValueId& x = operands_[i] = context_.in(i);
      if (is_flat_) x = turned(view(x, s_.batch, context_.shape(i)[1], whole[1], whole[3]));
      if (i == kQ) continue;
      const std::size_t past = i + kPastKey - kK;
      if (context_.has_input(past)) {
        if (context_.shape(past) != whole || context_.dtype(past) != context_.dtype(i)) {
          return misfit("past keys or values of", context_.shape(past), whole);
        }
        x = emit_concat(context_, {context_.in(past), x}, 2);
      }
      context_.set_output(i, x);  // kPresentKey, kPresentValue
    }
    if (Status status = make_bias(); !status.ok()) return status;
    ValueId y = is_one_kernel() ? whole() : in_parts();
    if (is_flat_) y = context_.view(turned(y), context_.out_shape(kY));
    context_.set_output(kY, y);
    return {};
  }

 private:
  ValueId view(ValueId value, std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) {
    return context_.view(value, {a, b, c, d});
  }

  // Heads before the sequence, or after.
  ValueId turned(ValueId value) {
    constexpr std::int64_t kOrder[] = {0, 2, 1, 3};
    return emit_transpose(context_, value, kOrder);
  }

  // What is added to the scores: the mask, and -infinity where a query does not meet a key. Nothing
  // where there is neither, or only what attention/1 knows by itself.
  Status make_bias() {
    const bool has_mask = context_.has_input(kMask), has_nonpad = context_.has_input(kNonpad);
    if (!has_mask && !has_nonpad && (!is_causal_ || is_one_kernel())) return {};
    std::vector<ValueId> inputs = {emit_positions(context_, 0, 1, {1, 1, 1, s_.keys})};
    Shape shape = {1, 1, is_causal_ ? s_.queries : 1, s_.keys};
    if (is_causal_) {
      inputs.push_back(emit_positions(context_, s_.past, 1, {1, 1, s_.queries, 1}));
    }
    if (has_nonpad) {
      const Shape& lengths = context_.shape(kNonpad);
      if (lengths.size() != 1 || lengths[0] != s_.batch ||
          context_.dtype(kNonpad) != DataType::Int64) {
        return misfit("the int64 lengths of nonpad_kv_seqlen", lengths, {s_.batch});
      }
      inputs.push_back(view(context_.in(kNonpad), s_.batch, 1, 1, 1));
      shape[0] = s_.batch;
    }
    std::int64_t masked_keys = s_.keys;
    if (has_mask) {
      const Shape& given = context_.shape(kMask);
      Shape mask = given;
      mask.insert(mask.begin(), 4 - std::min<std::size_t>(mask.size(), 4), 1);
      masked_keys = mask[3];
      ValueId value = context_.view(context_.in(kMask), mask);
      if (masked_keys < s_.keys) {  // whatever stands behind
        value = emit_pad(context_, value, Shape(4, 0), {0, 0, 0, s_.keys - masked_keys}, 0);
        mask[3] = s_.keys;
      }
      inputs.push_back(value);
      const std::int64_t whole[] = {s_.batch, s_.heads, s_.queries, s_.keys};
      for (std::size_t axis = 0; axis < 4; ++axis) {
        if (given.size() > 4 || (mask[axis] != 1 && mask[axis] != whole[axis])) {
          return misfit("a mask's sizes", given, Shape(whole, whole + 4));
        }
        shape[axis] = std::max(shape[axis], mask[axis]);
      }
    }

    PointwiseBuilder p(static_cast<std::uint32_t>(inputs.size()));
    using Reg = PointwiseBuilder::Reg;
    const Reg low = p.constant(dtype_, -std::numeric_limits<double>::infinity());
    const Reg key = p.input(0);
    std::optional<Reg> meets;
    const auto require = [&](std::uint16_t op, Reg limit) {
      const Reg holds = p.emit(op, DataType::Int64, key, limit);
      meets = meets ? p.emit(MINIINFER_PW_AND, DataType::Bool, *meets, holds) : holds;
    };
    const Reg nonpad = p.input(is_causal_ ? 2 : 1);
    if (is_causal_) {
      Reg last = p.input(1);
      if (has_nonpad) {  // its queries are those of the last keys
        const Reg queries = p.constant(DataType::Int64, static_cast<double>(s_.queries));
        last = p.emit(MINIINFER_PW_ADD, DataType::Int64, last,
                      p.emit(MINIINFER_PW_SUB, DataType::Int64, nonpad, queries));
      }
      require(MINIINFER_PW_LESS_EQUAL, last);
    }
    if (has_nonpad) require(MINIINFER_PW_LESS, nonpad);
    if (masked_keys < s_.keys) {
      require(MINIINFER_PW_LESS, p.constant(DataType::Int64, static_cast<double>(masked_keys)));
    }
    Reg added = p.constant(dtype_, 0);
    if (has_mask) {
      const Reg mask = p.input(static_cast<std::uint32_t>(inputs.size() - 1));
      added = context_.dtype(kMask) == DataType::Bool
                  ? p.emit(MINIINFER_PW_SELECT, dtype_, mask, added, low)
                  : p.emit(MINIINFER_PW_CAST, dtype_, mask);
    }
    if (meets) added = p.emit(MINIINFER_PW_SELECT, dtype_, *meets, added, low);
    bias_ = emit_pointwise(context_, p.finish({added}), inputs, dtype_, shape);
    // A query that meets no key has zeros, which a softmax does not give. By itself `is_causal`
    // leaves each the first one.
    if (has_mask || has_nonpad) most_ = emit_reduce(context_, MINIINFER_REDUCE_MAX, bias_, {3});
    return {};
  }

  ValueId without_masked(ValueId x) {
    if (most_ == kNoValue) return x;
    const DataType dtype = context_.dtype_of(x);
    PointwiseBuilder p(2);
    const auto none = p.emit(MINIINFER_PW_EQUAL, dtype_, p.input(0),
                             p.constant(dtype_, -std::numeric_limits<double>::infinity()));
    const auto kept = p.emit(MINIINFER_PW_SELECT, dtype, none, p.constant(dtype, 0), p.input(1));
    return emit_pointwise(context_, p.finish({kept}), {most_, x}, dtype, context_.shape_of(x));
  }

  // float64 needs a scale of its own.
  bool is_one_kernel() const {
    const bool has_type =
        dtype_ == DataType::Float32 || dtype_ == DataType::Float16 || dtype_ == DataType::BFloat16;
    return has_type && context_.dtype(kV) == dtype_ && softcap_ == 0 &&
           !context_.has_output(kScores) &&
           (precision_ == dtype_ || precision_ == DataType::Float32) &&
           std::min({s_.batch, s_.heads, s_.queries, s_.keys, s_.depth, s_.width}) > 0;
  }

  ValueId whole() {
    miniinfer_attention_attrs attrs{};
    attrs.scale = scale_;
    if (is_causal_ && !context_.has_input(kNonpad)) {
      attrs.flags = MINIINFER_ATTENTION_CAUSAL;
      attrs.past = s_.past;
    }
    std::vector<ValueId> inputs(operands_, operands_ + 3);
    if (bias_ != kNoValue) inputs.push_back(bias_);
    return without_masked(context_.emit(MINIINFER_ATTENTION, make_attrs(attrs), inputs, dtype_,
                                        {s_.batch, s_.heads, s_.queries, s_.width}));
  }

  // Heads that share a group of k and v are more rows of one product.
  ValueId in_parts() {
    const std::int64_t groups = s_.groups, keys = s_.keys;
    const std::int64_t rows = s_.heads / std::max<std::int64_t>(groups, 1) * s_.queries;
    const std::int64_t mode = attributes_.get_int("qk_matmul_output_mode", 0);
    const auto show = [&](std::int64_t which, ValueId scores) {
      if (mode == which) context_.set_output(kScores, scores);
    };
    const auto ungrouped = [&](ValueId value, std::int64_t last) {
      return view(value, s_.batch, s_.heads, s_.queries, last);
    };
    // Before the product: it may be beyond the range of a narrow type.
    const ValueId q = emit_scalar(context_, MINIINFER_PW_MUL, operands_[kQ], double{scale_});
    ValueId x = emit_contract(context_, view(q, s_.batch, groups, rows, s_.depth), operands_[kK],
                              false, true);
    x = ungrouped(x, keys);
    show(0, x);
    if (softcap_ != 0) {
      Formula f(context_, {x}, formula_type(dtype_));
      const auto cap = f.number(double{softcap_});
      const auto bent = f.op(MINIINFER_PW_TANH, f.op(MINIINFER_PW_DIV, f.in(0), cap));
      x = f.finish(f.op(MINIINFER_PW_MUL, bent, cap), dtype_, context_.shape_of(x));
    }
    show(1, x);
    if (bias_ != kNoValue) x = emit_binary(context_, MINIINFER_PW_ADD, x, bias_);
    show(2, x);
    x = emit_softmax(context_, emit_cast(context_, x, precision_), 3, false);
    x = without_masked(emit_cast(context_, x, dtype_));
    show(3, x);
    x = emit_contract(context_, view(x, s_.batch, groups, rows, keys),
                      emit_cast(context_, operands_[kV], dtype_), false, false);
    return ungrouped(x, s_.width);
  }

  LowerContext& context_;
  const Attributes& attributes_;
  const AttentionSizes s_;
  const DataType dtype_;
  const bool is_flat_, is_causal_;
  const float softcap_;
  const DataType precision_;
  float scale_ = 1;
  ValueId operands_[3] = {};  // with four axes, and with what is past
  ValueId bias_ = kNoValue;   // each axis of it may be 1 but the last
  ValueId most_ = kNoValue;   // the largest of the bias over the keys
};

Status lower_attention(LowerContext& context) {
  const std::int64_t mode = context.attributes().get_int("qk_matmul_output_mode", 0);
  if (mode < 0 || mode > 3) {
    return invalid("qk_matmul_output_mode is %lld", static_cast<long long>(mode));
  }
  AttentionSizes sizes{};
  const Status status =
      read_sizes(context.attributes(), context.shape(kQ), context.shape(kK), context.shape(kV),
                 context.has_input(kPastKey) ? &context.shape(kPastKey) : nullptr, sizes);
  return status.ok() ? AttentionLowering(context, sizes).run() : status;
}

// Pairs of numbers, which are neighbours or half of the rotated part apart, are turned by an angle:
// (a, b) becomes (a cos - b sin, a sin + b cos).
Status lower_rotary_embedding(LowerContext& context) {
  const Attributes& attributes = context.attributes();
  const Shape& in = context.shape(0);
  const bool flat = in.size() == 3;  // [batch, sequence, heads x depth]
  const std::int64_t heads = flat ? attributes.get_int("num_heads", 0) : 1;
  const bool fits = (flat || in.size() == 4) && heads > 0 && in.back() % heads == 0;
  Shape shape = in;
  if (flat && fits) shape = {in[0], in[1], heads, in[2] / heads};
  const std::int64_t depth = fits ? shape[3] : 0;
  const std::int64_t sequence = fits ? shape[flat ? 1 : 2] : 0;
  std::int64_t rotated = attributes.get_int("rotary_embedding_dim", 0);
  if (rotated == 0) rotated = depth;
  const std::int64_t half = rotated / 2;
  const Shape& table = context.shape(1);
  const bool has_positions = context.has_input(3);
  if (!fits || rotated < 0 || rotated > depth || rotated % 2 != 0 || table != context.shape(2) ||
      table.size() != (has_positions ? 2 : 3) || table.back() != half ||
      (has_positions ? context.shape(3) : Shape(table.begin(), table.end() - 1)) !=
          Shape{in[0], sequence}) {
    return misfit("num_heads, rotary_embedding_dim, positions or tables of", table, in);
  }
  // Both of a pair, by an axis of their own; the angles have one for all heads and for both.
  const std::size_t pair = attributes.get_int("interleaved", 0) != 0 ? 4 : 3;
  Shape split = {shape[0], shape[1], shape[2], half, half};
  split[pair] = 2;
  Shape turned = split;
  turned[flat ? 2 : 1] = turned[pair] = 1;

  std::vector<ValueId> inputs(2);
  for (const std::size_t cache : {std::size_t{1}, std::size_t{2}}) {
    ValueId angles = context.in(cache);
    if (has_positions) angles = emit_gather(context, angles, context.in(3), 0);
    inputs.push_back(context.view(angles, turned));
  }

  const ValueId x = context.view(context.in(0), shape);
  Shape part = shape;
  part[3] = rotated;
  Shape starts(4, 0), steps(4, 1), signs(5, 1);
  inputs[0] = context.view(emit_slice(context, x, starts, part, steps), split);
  starts.resize(5);
  steps.resize(5, 1);
  starts[pair] = 1;
  steps[pair] = -1;
  signs[pair] = 2;
  inputs[1] = emit_slice(context, inputs[0], starts, split, steps);
  const float sign[] = {-1, 1};
  inputs.push_back(context.constant_value(
      make_constant({DataType::Float32, signs}, std::as_bytes(std::span(sign)))));
  const DataType dtype = context.dtype(0);
  Formula f(context, inputs, formula_type(dtype));
  const auto along = f.op(MINIINFER_PW_MUL, f.in(0), f.in(2));
  const auto across = f.op(MINIINFER_PW_MUL, f.in(1), f.op(MINIINFER_PW_MUL, f.in(3), f.in(4)));
  ValueId y = context.view(f.finish(f.op(MINIINFER_PW_ADD, along, across), dtype, split), part);
  if (rotated < depth) {
    part[3] = depth - rotated;
    const ValueId rest = emit_slice(context, x, {0, 0, 0, rotated}, part, Shape(4, 1));
    y = emit_concat(context, {y, rest}, 3);
  }
  context.set_output(0, context.view(y, in));
  return {};
}

const Operator kTable[] = {
    {.name = "Attention",
     .since = 23,
     .min_inputs = 3,
     .max_inputs = 7,
     .max_outputs = 4,
     .attributes = {{"is_causal", AttributeSpec::Int},
                    {"kv_num_heads", AttributeSpec::Int},
                    {"q_num_heads", AttributeSpec::Int},
                    {"qk_matmul_output_mode", AttributeSpec::Int},
                    {"scale", AttributeSpec::Float},
                    {"softcap", AttributeSpec::Float},
                    {"softmax_precision", AttributeSpec::Int}},
     .infer = infer_attention,
     .lower = lower_attention},
    {.name = "RotaryEmbedding",
     .since = 23,
     .min_inputs = 3,
     .max_inputs = 4,
     .attributes = {{"interleaved", AttributeSpec::Int},
                    {"num_heads", AttributeSpec::Int},
                    {"rotary_embedding_dim", AttributeSpec::Int}},
     .infer = infer_same,
     .lower = lower_rotary_embedding},
};

}  // namespace

const OperatorTable kAttentionOperators = kTable;

}  // namespace miniinfer
