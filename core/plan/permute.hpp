#pragma once

#include <optional>

#include "core/graph/graph.hpp"

namespace miniinfer {

// What changes in a lowered graph where a value is kept with its axes in another order: axis i of
// the permuted value is axis order[i] of the one it stands for.

Order inverse(const Order& order);
// What permuting by `first` and then by `second` comes to.
Order compose(const Order& first, const Order& second);
Shape permuted(const Shape& shape, const Order& order);
// Whether the bytes stay where they are: axes longer than 1 keep their sequence.
bool moves_nothing(const Shape& shape, const Order& order);

ConstantPtr permuted(const ConstantPtr& constant, const Order& order);

// The order of a copy that permutes all of its only input and does nothing else.
std::optional<Order> find_transposition(const Graph& graph, const Node& node);
// `from` permuted by `order` as a new value, without a producer. The node that gives it is a view
// where nothing moves and a copy otherwise; it is not added.
struct Transposition {
  ValueId to;
  Node node;
};
Transposition transpose(Graph& graph, ValueId from, const Order& order, const Origin& origin);

// Attributes with which a node gives permuted outputs from inputs that are all permuted by `order`;
// null where its operator, or what it does with these shapes, knows no such attributes. Operators
// that work axis by axis do: pointwise, reduce over windows, resize, and copies of boxes (slice,
// concat, pad).
KernelAttrsPtr permuted_attrs(const Graph& graph, const Node& node, const Order& order);

}  // namespace miniinfer
