#include "core/plan/boxes.hpp"

#include <algorithm>
#include <numeric>

#include "core/plan/permute.hpp"

namespace miniinfer {
namespace {

// The place of a row-major tensor at that offset; nothing beyond its end.
std::optional<Shape> place_at(std::int64_t offset, const Shape& shape) {
  Shape place(shape.size());
  if (offset < 0) return std::nullopt;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    if (shape[axis] == 0) return std::nullopt;
    place[axis] = offset % shape[axis];
    offset /= shape[axis];
  }
  if (offset != 0) return std::nullopt;
  return place;
}

bool stays_inside(const Shape& shape, std::size_t axis, std::int64_t start, std::int64_t size,
                  std::int64_t step) {
  return start + (size - 1) * step < shape[axis];
}

bool same_movement(const CopyPiece& a, const CopyPiece& b) {
  return a.dims == b.dims && a.src_strides == b.src_strides && a.dst_strides == b.dst_strides &&
         a.src_offset == b.src_offset && a.dst_offset == b.dst_offset;
}

}  // namespace

Box Box::permuted(const Order& order) const {
  const auto moved = [&](const Shape& shape) { return miniinfer::permuted(shape, order); };
  return {moved(sizes), moved(from), moved(from_step), moved(to), moved(to_step)};
}

CopyPiece Box::piece(const Shape& from_shape, const Shape& to_shape) const {
  const Shape src = row_major_strides(from_shape), dst = row_major_strides(to_shape);
  CopyPiece piece;
  piece.dims = sizes;
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    piece.src_offset += from[axis] * src[axis];
    piece.dst_offset += to[axis] * dst[axis];
    piece.src_strides.push_back(from_step[axis] * src[axis]);
    piece.dst_strides.push_back(to_step[axis] * dst[axis]);
  }
  return piece;
}

// Axes of a region were joined where they are one run on both sides, so they are taken apart from
// the innermost on. What was guessed is then joined again, and is right if that gives the region.
std::optional<Box> find_box(const miniinfer_copy_region& region, const Shape& from_shape,
                            const Shape& to_shape) {
  const std::size_t rank = from_shape.size();
  if (to_shape.size() != rank) return std::nullopt;
  const std::optional<Shape> from = place_at(region.src_offset, from_shape);
  const std::optional<Shape> to = place_at(region.dst_offset, to_shape);
  if (!from || !to) return std::nullopt;
  Box box{Shape(rank, 1), *from, Shape(rank, 1), *to, Shape(rank, 1)};
  const Shape src = row_major_strides(from_shape), dst = row_major_strides(to_shape);

  CopyPiece whole;
  whole.src_offset = region.src_offset;
  whole.dst_offset = region.dst_offset;
  whole.dims.assign(region.dims, region.dims + region.rank);
  whole.src_strides.assign(region.src_strides, region.src_strides + region.rank);
  whole.dst_strides.assign(region.dst_strides, region.dst_strides + region.rank);
  simplify(whole);
  CopyPiece left = whole;
  for (std::size_t axis = rank; axis-- > 0 && !left.dims.empty();) {
    if (from_shape[axis] == 1 || to_shape[axis] == 1) continue;
    std::int64_t& size = left.dims.back();
    std::int64_t& src_step = left.src_strides.back();
    std::int64_t& dst_step = left.dst_strides.back();
    const std::int64_t from_step = src_step / src[axis], to_step = dst_step / dst[axis];
    if (src_step <= 0 || dst_step <= 0) return std::nullopt;
    if (from_step >= from_shape[axis] || to_step >= to_shape[axis]) continue;  // of an outer axis
    box.from_step[axis] = from_step;
    box.to_step[axis] = to_step;
    if (stays_inside(from_shape, axis, (*from)[axis], size, from_step) &&
        stays_inside(to_shape, axis, (*to)[axis], size, to_step)) {
      box.sizes[axis] = size;
      left.dims.pop_back();
      left.src_strides.pop_back();
      left.dst_strides.pop_back();
      continue;
    }
    // All steps that the axis has room for; the rest belongs to the axes outside it.
    const std::int64_t part = from_shape[axis] / from_step;
    if (part * from_step != from_shape[axis] || part * to_step != to_shape[axis] ||
        size % part != 0 || !stays_inside(from_shape, axis, (*from)[axis], part, from_step) ||
        !stays_inside(to_shape, axis, (*to)[axis], part, to_step)) {
      return std::nullopt;
    }
    box.sizes[axis] = part;
    size /= part;
    src_step *= part;
    dst_step *= part;
  }
  CopyPiece again = box.piece(from_shape, to_shape);
  simplify(again);
  if (!left.dims.empty() || !same_movement(again, whole)) return std::nullopt;
  return box;
}

}  // namespace miniinfer
