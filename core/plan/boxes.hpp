#pragma once

#include <optional>

#include "core/ops/lowering.hpp"

namespace miniinfer {

// A region of a copy as what it is in terms of axes: along each, `sizes` places from `from` on,
// `step` apart, go to as many from `to` on. Slices, the parts of a concatenation and what is padded
// are such boxes; a transposition is not.
struct Box {
  Shape sizes, from, from_step, to, to_step;

  Box permuted(const Order& order) const;
  // The movement between row-major tensors of these shapes, not simplified.
  CopyPiece piece(const Shape& from_shape, const Shape& to_shape) const;
};

// The box that a region is; nothing where it is none, or leaves a shape along some axis.
std::optional<Box> find_box(const miniinfer_copy_region& region, const Shape& from_shape,
                            const Shape& to_shape);

}  // namespace miniinfer
