#pragma once

// What lowerings are made of: kernel nodes of the pointwise and copy families from tensor-level
// wishes. All of these fail by LowerContext::fail and then give a value of the type asked for.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/ops/kernel_attrs.hpp"
#include "core/ops/operator.hpp"
#include "core/ops/rules.hpp"

namespace miniinfer {

// Whether pointwise programs can compute with elements of the type.
bool is_pointwise_type(DataType type);
// The type an instruction gives: BOOL for comparisons.
DataType result_type(std::uint16_t opcode, DataType dtype);
// float32 for types that would round after every instruction of a longer formula.
DataType formula_type(DataType type);

// A program over inputs that broadcast to `shape`. Ranks are aligned with views, and collapsed
// where they are too high. UNSUPPORTED for element types outside the family.
ValueId emit_pointwise(LowerContext& context, KernelAttrsPtr program, std::vector<ValueId> inputs,
                       DataType dtype, const Shape& shape);
// One instruction, in the type of `a` (SELECT: of `b`).
ValueId emit_unary(LowerContext& context, std::uint16_t opcode, ValueId a);
ValueId emit_binary(LowerContext& context, std::uint16_t opcode, ValueId a, ValueId b);
ValueId emit_select(LowerContext& context, ValueId condition, ValueId a, ValueId b);
// The second operand is a number, converted to the type of `a`.
ValueId emit_scalar(LowerContext& context, std::uint16_t opcode, ValueId a, double b);
ValueId emit_cast(LowerContext& context, ValueId value, DataType dtype);

// One pointwise node under construction that computes in one type whatever its inputs are.
//
//   Formula f(context, {x}, DataType::Float32);
//   y = f.finish(f.op(MINIINFER_PW_MUL, f.in(0), f.op(MINIINFER_PW_TANH, f.in(0))), dtype, shape);
class Formula {
 public:
  using Reg = PointwiseBuilder::Reg;
  Formula(LowerContext& context, std::vector<ValueId> inputs, DataType compute);

  Reg in(std::size_t i) const { return converted_[i]; }
  Reg raw(std::size_t i) const { return builder_.input(static_cast<std::uint32_t>(i)); }
  Reg number(double value) { return builder_.constant(compute_, value); }
  Reg op(std::uint16_t opcode, Reg a, Reg b = {}, Reg c = {});
  // `dtype` is the output's type: the result is cast to it.
  ValueId finish(Reg result, DataType dtype, const Shape& shape);

 private:
  Reg emit(std::uint16_t opcode, DataType dtype, Reg a, Reg b = {}, Reg c = {});

  LowerContext& context_;
  std::vector<ValueId> inputs_;
  DataType compute_;
  PointwiseBuilder builder_;
  std::vector<Reg> converted_;
  std::vector<DataType> result_types_;
};

// One region of a copy node, of any rank. Offsets and strides are in elements.
struct CopyPiece {
  std::uint32_t input = 0;
  std::int64_t src_offset = 0;
  std::int64_t dst_offset = 0;
  Shape dims;
  Shape src_strides;
  Shape dst_strides;
};

// Drops axes of size 1 and joins axes that are one run on both sides: two pieces that move the same
// elements to the same places in one order are then equal.
void simplify(CopyPiece& piece);
// Rank at most MINIINFER_MAX_RANK.
miniinfer_copy_region to_region(const CopyPiece& piece);

// A copy node with as few axes and regions as will do; a view where it would move nothing.
ValueId emit_copy(LowerContext& context, std::vector<ValueId> inputs, std::vector<CopyPiece> pieces,
                  DataType dtype, Shape shape, std::optional<std::uint64_t> fill_bits = {});

ValueId emit_transpose(LowerContext& context, ValueId value, std::span<const std::int64_t> perm);
// Axis i of the output is start[i], start[i] + step[i], .. of axis i; all within the input.
ValueId emit_slice(LowerContext& context, ValueId value, const Shape& starts, const Shape& sizes,
                   const Shape& steps);
ValueId emit_expand(LowerContext& context, ValueId value, const Shape& shape);
ValueId emit_concat(LowerContext& context, std::vector<ValueId> values, std::size_t axis);
// Negative amounts crop.
ValueId emit_pad(LowerContext& context, ValueId value, const Shape& before, const Shape& after,
                 std::uint64_t fill_bits);
// The slices of `value` along an axis that `indices` name, in their shape.
ValueId emit_gather(LowerContext& context, ValueId value, ValueId indices, std::size_t axis);
// Every element is the constant's one element.
ValueId emit_filled(LowerContext& context, const ConstantPtr& element, const Shape& shape);

// The INT64 constant first, first + step, .. of that shape. LIMIT_EXCEEDED for more than a GiB.
ValueId emit_positions(LowerContext& context, std::int64_t first, std::int64_t step, Shape shape);

// The bits of a constant's first element; 0 where it is wider than 64 bits or a string.
std::uint64_t element_bits(const Constant& constant);

}  // namespace miniinfer
