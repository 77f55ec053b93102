#include "core/plan/permute.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/ops/lowering.hpp"
#include "core/plan/boxes.hpp"
#include "miniinfer/abi/op/reduce.h"
#include "miniinfer/abi/op/resize.h"

namespace miniinfer {
namespace {

template <class T>
void permute_axes(T* values, const Order& order) {
  const std::vector<T> from(values, values + order.size());
  for (std::size_t axis = 0; axis < order.size(); ++axis) values[axis] = from[order[axis]];
}

KernelAttrsPtr permuted_reduce(const Node& node, const Order& order) {
  auto attrs = *static_cast<const miniinfer_reduce_attrs*>(node.kernel->abi());
  const bool gives_positions = attrs.kind >= MINIINFER_REDUCE_ARGMAX ||
                               (node.outputs.size() > 1 && node.outputs[1] != kNoValue);
  if (gives_positions) return nullptr;
  for (std::int64_t* list :
       {attrs.window, attrs.stride, attrs.dilation, attrs.pad_begin, attrs.pad_end}) {
    permute_axes(list, order);
  }
  return make_attrs(attrs);
}

KernelAttrsPtr permuted_resize(const Node& node, const Order& order) {
  auto attrs = *static_cast<const miniinfer_resize_attrs*>(node.kernel->abi());
  for (double* list : {attrs.scale, attrs.roi_begin, attrs.roi_end}) permute_axes(list, order);
  return make_attrs(attrs);
}

KernelAttrsPtr permuted_copy(const Graph& graph, const Node& node, const Order& order) {
  const auto& copy = static_cast<const CopyRegions&>(*node.kernel);
  const Shape& to = *graph.value(node.outputs[0]).shape;
  std::vector<miniinfer_copy_region> regions;
  for (const miniinfer_copy_region& region : copy.regions()) {
    const Shape& from = *graph.value(node.inputs[region.input]).shape;
    const std::optional<Box> box = find_box(region, from, to);
    if (!box) return nullptr;
    CopyPiece piece = box->permuted(order).piece(permuted(from, order), permuted(to, order));
    piece.input = region.input;
    simplify(piece);
    regions.push_back(to_region(piece));
  }
  const auto& attrs = *static_cast<const miniinfer_copy_attrs*>(copy.abi());
  if (copy.fills()) return std::make_shared<CopyRegions>(std::move(regions), attrs.fill_bits);
  return std::make_shared<CopyRegions>(std::move(regions));
}

}  // namespace

Order inverse(const Order& order) {
  Order back(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) back[order[i]] = static_cast<std::uint8_t>(i);
  return back;
}

Order compose(const Order& first, const Order& second) {
  Order both;
  for (const std::uint8_t axis : second) both.push_back(first[axis]);
  return both;
}

Shape permuted(const Shape& shape, const Order& order) {
  Shape result;
  for (const std::uint8_t axis : order) result.push_back(shape[axis]);
  return result;
}

bool moves_nothing(const Shape& shape, const Order& order) {
  int last = -1;
  for (const std::uint8_t axis : order) {
    if (shape[axis] == 1) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}

ConstantPtr permuted(const ConstantPtr& constant, const Order& order) {
  auto result = std::make_shared<Constant>();
  result->type = {constant->type.dtype, permuted(constant->type.shape, order)};
  if (moves_nothing(constant->type.shape, order)) {
    result->bytes = constant->bytes;
    result->keep = constant;
    return result;
  }
  const std::size_t each = bits(constant->type.dtype) / 8;
  auto bytes = std::make_shared<std::vector<std::byte>>(constant->bytes.size());
  const Shape from = permuted(row_major_strides(constant->type.shape), order);
  const Shape& to = result->type.shape;
  Shape at(to.size());
  std::int64_t source = 0;
  for (std::size_t i = 0; i + each <= bytes->size(); i += each) {
    std::memcpy(bytes->data() + i, constant->bytes.data() + static_cast<std::size_t>(source) * each,
                each);
    for (std::size_t axis = to.size(); axis-- > 0;) {
      source += from[axis];
      if (++at[axis] < to[axis]) break;
      source -= from[axis] * to[axis];
      at[axis] = 0;
    }
  }
  result->bytes = *bytes;
  result->keep = bytes;
  return result;
}

std::optional<Order> find_transposition(const Graph& graph, const Node& node) {
  if (node.removed || node.op != MINIINFER_COPY || node.inputs.size() != 1) return std::nullopt;
  const auto& copy = static_cast<const CopyRegions&>(*node.kernel);
  const Shape& from = *graph.value(node.inputs[0]).shape;
  const Shape& to = *graph.value(node.outputs[0]).shape;
  if (copy.fills() || copy.regions().size() != 1 || from.size() != to.size()) return std::nullopt;
  const miniinfer_copy_region& region = copy.regions()[0];
  if (region.src_offset != 0 || region.dst_offset != 0) return std::nullopt;
  // Along each axis of the output, innermost first, how far the region steps in the input.
  const Shape strides = row_major_strides(from), wanted = row_major_strides(to);
  Order order(to.size());
  std::vector<bool> taken(to.size());
  const auto take = [&](std::size_t axis, auto&& fits) {
    for (std::size_t candidate = 0; candidate < from.size(); ++candidate) {
      if (taken[candidate] || from[candidate] != to[axis] || !fits(candidate)) continue;
      taken[candidate] = true;
      order[axis] = static_cast<std::uint8_t>(candidate);
      return true;
    }
    return false;
  };
  int piece = region.rank - 1;
  std::int64_t done = 1;  // of the region's axis `piece`
  for (std::size_t axis = to.size(); axis-- > 0;) {
    if (to[axis] == 1) continue;
    if (piece < 0 || region.dst_strides[piece] * done != wanted[axis]) return std::nullopt;
    const std::int64_t step = region.src_strides[piece] * done;
    if (!take(axis, [&](std::size_t candidate) { return strides[candidate] == step; })) {
      return std::nullopt;
    }
    done *= to[axis];
    if (region.dims[piece] % done != 0) return std::nullopt;
    if (done == region.dims[piece]) {
      --piece;
      done = 1;
    }
  }
  if (piece >= 0) return std::nullopt;
  for (std::size_t axis = 0; axis < to.size(); ++axis) {
    if (to[axis] == 1 && !take(axis, [](std::size_t) { return true; })) return std::nullopt;
  }
  return order;
}

Transposition transpose(Graph& graph, ValueId from, const Order& order, const Origin& origin) {
  const Shape shape = *graph.value(from).shape;
  Transposition made;
  made.to =
      graph.add_value(graph.value(from).name, graph.value(from).dtype, permuted(shape, order));
  made.node.op = "view";
  if (!moves_nothing(shape, order)) {
    CopyPiece piece;
    piece.dims = permuted(shape, order);
    piece.src_strides = permuted(row_major_strides(shape), order);
    piece.dst_strides = row_major_strides(piece.dims);
    simplify(piece);
    made.node.op = MINIINFER_COPY;
    made.node.kernel = std::make_shared<CopyRegions>(std::vector{to_region(piece)});
  }
  made.node.inputs = {from};
  made.node.outputs = {made.to};
  made.node.origin = origin;
  return made;
}

KernelAttrsPtr permuted_attrs(const Graph& graph, const Node& node, const Order& order) {
  if (!node.input_orders.empty() || !node.output_orders.empty()) return nullptr;
  for (const auto* list : {&node.inputs, &node.outputs}) {
    for (const ValueId id : *list) {
      if (id == kNoValue) continue;
      const Value& value = graph.value(id);
      if (value.shape->size() != order.size() || bits(value.dtype) % 8 != 0) return nullptr;
    }
  }
  if (node.op == MINIINFER_POINTWISE) return node.kernel;
  if (node.op == MINIINFER_REDUCE) return permuted_reduce(node, order);
  if (node.op == MINIINFER_RESIZE) return permuted_resize(node, order);
  if (node.op == MINIINFER_COPY) return permuted_copy(graph, node, order);
  return nullptr;
}

}  // namespace miniinfer
