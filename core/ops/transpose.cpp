// Transpose and what is one between two views.

#include <numeric>

#include "core/base/checked_math.hpp"
#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"

namespace miniinfer {
namespace {

Result<std::vector<std::int64_t>> permutation(const Attributes& attributes, std::size_t rank) {
  const auto given = attributes.get_ints("perm");
  std::vector<std::int64_t> perm(rank);
  if (!given) {
    std::iota(perm.rbegin(), perm.rend(), 0);
    return perm;
  }
  if (given->size() != rank) {
    return invalid("perm has %zu entries for an input of rank %zu", given->size(), rank);
  }
  return normalise_axes(*given, rank);
}

Status infer_transpose(InferContext& context) {
  if (!context.shape(0)) return context.set(0, context.dtype(0), std::nullopt);
  const Shape& in = *context.shape(0);
  Result<std::vector<std::int64_t>> perm = permutation(context.attributes(), in.size());
  if (!perm) return perm.status();
  Shape out;
  for (const std::int64_t axis : *perm) out.push_back(in[static_cast<std::size_t>(axis)]);
  return context.set(0, context.dtype(0), std::move(out));
}

Status lower_transpose(LowerContext& context) {
  Result<std::vector<std::int64_t>> perm =
      permutation(context.attributes(), context.shape(0).size());
  if (!perm) return perm.status();
  context.set_output(0, emit_transpose(context, context.in(0), *perm));
  return {};
}

Status check_blocks(const InferContext& context) {
  const std::int64_t block = context.attributes().get_int("blocksize", 0);
  const std::string_view mode = context.attributes().get_string("mode", "DCR");
  if (block < 1 || block > 1 << 16) {
    return invalid("blocksize is %lld", static_cast<long long>(block));
  }
  if (mode != "DCR" && mode != "CRD") return invalid("mode is neither DCR nor CRD");
  if (context.shape(0) && context.shape(0)->size() != 4) {
    return invalid("the input is of rank %zu, not 4", context.shape(0)->size());
  }
  return {};
}

Status infer_depth_to_space(InferContext& context) {
  if (Status status = check_blocks(context); !status.ok()) return status;
  const std::int64_t block = context.attributes().get_int("blocksize", 1);
  Shape out(4, -1);
  if (context.shape(0)) {
    const Shape& in = *context.shape(0);
    if (in[1] >= 0 && in[1] % (block * block) != 0) {
      return invalid("%lld channels are no multiple of blocksize squared",
                     static_cast<long long>(in[1]));
    }
    out[0] = in[0];
    if (in[1] >= 0) out[1] = in[1] / (block * block);
    for (std::size_t i = 2; i < 4; ++i) {
      if (in[i] >= 0 && !checked_mul(in[i], block, &out[i])) return invalid("it is too large");
    }
  }
  return context.set(0, context.dtype(0), std::move(out));
}

Status infer_space_to_depth(InferContext& context) {
  if (Status status = check_blocks(context); !status.ok()) return status;
  const std::int64_t block = context.attributes().get_int("blocksize", 1);
  Shape out(4, -1);
  if (context.shape(0)) {
    const Shape& in = *context.shape(0);
    out[0] = in[0];
    if (in[1] >= 0 && !checked_mul(in[1], block * block, &out[1])) {
      return invalid("it is too large");
    }
    for (std::size_t i = 2; i < 4; ++i) {
      if (in[i] >= 0 && in[i] % block != 0) {
        return invalid("axis %zu of %lld is no multiple of blocksize", i,
                       static_cast<long long>(in[i]));
      }
      if (in[i] >= 0) out[i] = in[i] / block;
    }
  }
  return context.set(0, context.dtype(0), std::move(out));
}

Status rearrange(LowerContext& context, Shape split, std::span<const std::int64_t> perm) {
  const ValueId parts = context.view(context.in(0), std::move(split));
  context.set_output(0, context.view(emit_transpose(context, parts, perm), context.out_shape(0)));
  return {};
}

Status lower_depth_to_space(LowerContext& context) {
  const Shape& out = context.out_shape(0);
  const Shape& in = context.shape(0);
  const std::int64_t block = context.attributes().get_int("blocksize", 1);
  if (context.attributes().get_string("mode", "DCR") == "DCR") {
    constexpr std::int64_t kPerm[] = {0, 3, 4, 1, 5, 2};
    return rearrange(context, {in[0], block, block, out[1], in[2], in[3]}, kPerm);
  }
  constexpr std::int64_t kPerm[] = {0, 1, 4, 2, 5, 3};
  return rearrange(context, {in[0], out[1], block, block, in[2], in[3]}, kPerm);
}

Status lower_space_to_depth(LowerContext& context) {
  const Shape& out = context.out_shape(0);
  const Shape& in = context.shape(0);
  const std::int64_t block = context.attributes().get_int("blocksize", 1);
  constexpr std::int64_t kDcr[] = {0, 3, 5, 1, 2, 4};
  constexpr std::int64_t kCrd[] = {0, 1, 3, 5, 2, 4};
  const bool dcr = context.attributes().get_string("mode", "DCR") == "DCR";
  return rearrange(context, {in[0], in[1], out[2], block, out[3], block}, dcr ? kDcr : kCrd);
}

Operator blocks(std::string_view name, Status (*infer)(InferContext&),
                Status (*lower)(LowerContext&)) {
  Operator op;
  op.name = name;
  op.min_inputs = op.max_inputs = 1;
  op.attributes = {{"blocksize", AttributeSpec::Int, true}, {"mode", AttributeSpec::String}};
  op.infer = infer;
  op.lower = lower;
  return op;
}

const Operator kTable[] = {
    {.name = "Transpose",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .attributes = {{"perm", AttributeSpec::Ints}},
     .infer = infer_transpose,
     .lower = lower_transpose},
    blocks("DepthToSpace", infer_depth_to_space, lower_depth_to_space),
    blocks("SpaceToDepth", infer_space_to_depth, lower_space_to_depth),
};

}  // namespace

const OperatorTable kTransposeOperators = kTable;

}  // namespace miniinfer
