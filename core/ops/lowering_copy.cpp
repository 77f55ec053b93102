#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/base/format.hpp"
#include "core/ops/lowering.hpp"
#include "miniinfer/abi/op/gather.h"

namespace miniinfer {
namespace {

bool is_identity(const CopyPiece& piece) {
  return piece.src_offset == 0 && piece.dst_offset == 0 &&
         (piece.dims.empty() ||
          (piece.dims.size() == 1 && piece.src_strides[0] == 1 && piece.dst_strides[0] == 1));
}

std::int64_t count(const Shape& shape) { return product(shape, 0, shape.size()); }

std::int64_t dot(const Shape& a, const Shape& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), std::int64_t{0});
}

}  // namespace

void simplify(CopyPiece& piece) {
  CopyPiece out;
  for (std::size_t i = 0; i < piece.dims.size(); ++i) {
    const std::int64_t dim = piece.dims[i];
    const std::int64_t src = piece.src_strides[i];
    const std::int64_t dst = piece.dst_strides[i];
    if (dim == 1) continue;
    if (!out.dims.empty() && out.src_strides.back() == src * dim &&
        out.dst_strides.back() == dst * dim) {
      out.dims.back() *= dim;
      out.src_strides.back() = src;
      out.dst_strides.back() = dst;
      continue;
    }
    out.dims.push_back(dim);
    out.src_strides.push_back(src);
    out.dst_strides.push_back(dst);
  }
  piece.dims = std::move(out.dims);
  piece.src_strides = std::move(out.src_strides);
  piece.dst_strides = std::move(out.dst_strides);
}

miniinfer_copy_region to_region(const CopyPiece& piece) {
  miniinfer_copy_region region{};
  region.input = piece.input;
  region.rank = static_cast<std::int32_t>(piece.dims.size());
  region.src_offset = piece.src_offset;
  region.dst_offset = piece.dst_offset;
  std::copy(piece.dims.begin(), piece.dims.end(), region.dims);
  std::copy(piece.src_strides.begin(), piece.src_strides.end(), region.src_strides);
  std::copy(piece.dst_strides.begin(), piece.dst_strides.end(), region.dst_strides);
  return region;
}

ValueId emit_copy(LowerContext& context, std::vector<ValueId> inputs, std::vector<CopyPiece> pieces,
                  DataType dtype, Shape shape, std::optional<std::uint64_t> fill_bits) {
  if (bits(dtype) % 8 != 0) {
    context.fail(unsupported("moving elements of %s, which share bytes", to_string(dtype).data()));
  }
  std::erase_if(pieces, [](const CopyPiece& piece) {
    return std::count(piece.dims.begin(), piece.dims.end(), 0) > 0;
  });
  for (CopyPiece& piece : pieces) {
    simplify(piece);
    if (piece.dims.size() > MINIINFER_MAX_RANK) {
      context.fail(unsupported("a movement along %zu axes at once; the most is %d",
                               piece.dims.size(), MINIINFER_MAX_RANK));
      piece.dims.resize(MINIINFER_MAX_RANK);
      piece.src_strides.resize(MINIINFER_MAX_RANK);
      piece.dst_strides.resize(MINIINFER_MAX_RANK);
    }
  }
  if (pieces.size() == 1 && is_identity(pieces[0]) && count(pieces[0].dims) == count(shape) &&
      count(context.shape_of(inputs[pieces[0].input])) == count(shape)) {
    return context.view(inputs[pieces[0].input], std::move(shape));
  }

  // Inputs that no region reads are left out.
  std::vector<ValueId> read;
  std::vector<std::uint32_t> index(inputs.size(), ~std::uint32_t{0});
  std::vector<miniinfer_copy_region> regions;
  for (CopyPiece& piece : pieces) {
    std::uint32_t& slot = index[piece.input];
    if (slot == ~std::uint32_t{0}) {
      slot = static_cast<std::uint32_t>(read.size());
      ValueId input = inputs[piece.input];
      const Shape input_shape = context.shape_of(input);
      if (input_shape.size() > MINIINFER_MAX_RANK) {
        input = context.view(input, {count(input_shape)});
      }
      read.push_back(input);
    }
    piece.input = slot;
    regions.push_back(to_region(piece));
  }
  KernelAttrsPtr attrs = fill_bits ? std::make_shared<CopyRegions>(std::move(regions), *fill_bits)
                                   : std::make_shared<CopyRegions>(std::move(regions));
  Shape kernel_shape = shape.size() > MINIINFER_MAX_RANK ? Shape{count(shape)} : shape;
  const ValueId out = context.emit(MINIINFER_COPY, std::move(attrs), std::move(read), dtype,
                                   std::move(kernel_shape));
  return context.view(out, std::move(shape));
}

ValueId emit_transpose(LowerContext& context, ValueId value, std::span<const std::int64_t> perm) {
  const Shape in = context.shape_of(value);
  const Shape strides = row_major_strides(in);
  CopyPiece piece;
  for (const std::int64_t axis : perm) {
    piece.dims.push_back(in[static_cast<std::size_t>(axis)]);
    piece.src_strides.push_back(strides[static_cast<std::size_t>(axis)]);
  }
  piece.dst_strides = row_major_strides(piece.dims);
  const Shape out = piece.dims;
  return emit_copy(context, {value}, {std::move(piece)}, context.dtype_of(value), out);
}

ValueId emit_slice(LowerContext& context, ValueId value, const Shape& starts, const Shape& sizes,
                   const Shape& steps) {
  const Shape strides = row_major_strides(context.shape_of(value));
  CopyPiece piece;
  piece.src_offset = dot(starts, strides);
  piece.dims = sizes;
  for (std::size_t i = 0; i < strides.size(); ++i) {
    piece.src_strides.push_back(strides[i] * steps[i]);
  }
  piece.dst_strides = row_major_strides(sizes);
  return emit_copy(context, {value}, {std::move(piece)}, context.dtype_of(value), sizes);
}

ValueId emit_expand(LowerContext& context, ValueId value, const Shape& shape) {
  const Shape in = context.shape_of(value);
  const Shape strides = row_major_strides(in);
  const std::size_t shift = shape.size() - in.size();
  CopyPiece piece;
  piece.dims = shape;
  piece.src_strides.resize(shape.size());
  for (std::size_t i = 0; i < in.size(); ++i) {
    piece.src_strides[i + shift] = in[i] == 1 ? 0 : strides[i];
  }
  piece.dst_strides = row_major_strides(shape);
  return emit_copy(context, {value}, {std::move(piece)}, context.dtype_of(value), shape);
}

ValueId emit_concat(LowerContext& context, std::vector<ValueId> values, std::size_t axis) {
  Shape out = context.shape_of(values[0]);
  out[axis] = 0;
  for (const ValueId value : values) out[axis] += context.shape_of(value)[axis];
  const Shape dst_strides = row_major_strides(out);
  std::vector<CopyPiece> pieces;
  std::int64_t position = 0;
  for (std::uint32_t i = 0; i < values.size(); ++i) {
    const Shape in = context.shape_of(values[i]);
    pieces.push_back({i, 0, position * dst_strides[axis], in, row_major_strides(in), dst_strides});
    position += in[axis];
  }
  const DataType dtype = context.dtype_of(values[0]);
  return emit_copy(context, std::move(values), std::move(pieces), dtype, std::move(out));
}

ValueId emit_pad(LowerContext& context, ValueId value, const Shape& before, const Shape& after,
                 std::uint64_t fill_bits) {
  const Shape in = context.shape_of(value);
  const Shape src_strides = row_major_strides(in);
  Shape out(in.size());
  Shape src_start(in.size());
  Shape dst_start(in.size());
  CopyPiece piece;
  piece.dims.resize(in.size());
  bool grows = false;
  for (std::size_t i = 0; i < in.size(); ++i) {
    out[i] = in[i] + before[i] + after[i];
    src_start[i] = std::max<std::int64_t>(-before[i], 0);
    dst_start[i] = std::max<std::int64_t>(before[i], 0);
    const std::int64_t src_end = in[i] + std::min<std::int64_t>(after[i], 0);
    piece.dims[i] = std::max<std::int64_t>(src_end - src_start[i], 0);
    grows = grows || before[i] > 0 || after[i] > 0 || piece.dims[i] == 0;
  }
  piece.src_strides = src_strides;
  piece.dst_strides = row_major_strides(out);
  piece.src_offset = dot(src_start, src_strides);
  piece.dst_offset = dot(dst_start, piece.dst_strides);
  return emit_copy(context, {value}, {std::move(piece)}, context.dtype_of(value), std::move(out),
                   grows ? std::optional(fill_bits) : std::nullopt);
}

ValueId emit_gather(LowerContext& context, ValueId value, ValueId indices, std::size_t axis) {
  const Shape data = context.shape_of(value);
  const Shape taken = context.shape_of(indices);
  const std::int64_t indexed = count(taken);
  const std::int64_t before = product(data, 0, axis);
  const std::int64_t after = product(data, axis + 1, data.size());
  miniinfer_gather_attrs attrs{};
  attrs.mode = MINIINFER_GATHER_AXIS;
  attrs.axis = 1;
  const ValueId made = context.emit(
      MINIINFER_GATHER, make_attrs(attrs),
      {context.view(value, {before, data[axis], after}), context.view(indices, {indexed})},
      context.dtype_of(value), {before, indexed, after});
  const auto at = static_cast<std::ptrdiff_t>(axis);
  Shape out(data.begin(), data.begin() + at);
  out.insert(out.end(), taken.begin(), taken.end());
  out.insert(out.end(), data.begin() + at + 1, data.end());
  return context.view(made, std::move(out));
}

ValueId emit_filled(LowerContext& context, const ConstantPtr& element, const Shape& shape) {
  const ValueId value = context.constant_value(element);
  return emit_expand(context, context.view(value, {}), shape);
}

ValueId emit_positions(LowerContext& context, std::int64_t first, std::int64_t step, Shape shape) {
  constexpr std::int64_t kMost = std::int64_t{1} << 27;
  std::int64_t size = count(shape);
  if (size > kMost) {
    context.fail(
        {Code::LimitExceeded, format("a table of %lld positions; the most is %lld",
                                     static_cast<long long>(size), static_cast<long long>(kMost))});
    size = 0;
    shape = {0};
  }
  std::vector<std::int64_t> positions(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i) positions[static_cast<std::size_t>(i)] = first + i * step;
  return context.constant_value(
      make_constant({DataType::Int64, std::move(shape)}, std::as_bytes(std::span(positions))));
}

std::uint64_t element_bits(const Constant& constant) {
  const std::uint32_t width = bits(constant.type.dtype);
  std::uint64_t value = 0;
  if (width % 8 != 0 || width > 64 || constant.bytes.size() < width / 8) return 0;
  std::memcpy(&value, constant.bytes.data(), width / 8);
  return value;
}

}  // namespace miniinfer
