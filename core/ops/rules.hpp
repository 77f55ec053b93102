#pragma once

// Rules that many operators share: what inference and upgrades are made of.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/ops/operator.hpp"

namespace miniinfer {

// INVALID_ARGUMENT, UNSUPPORTED; printf style, without the node (infer_node and lower add it).
Status invalid(const char* format, ...) __attribute__((format(printf, 1, 2)));
Status unsupported(const char* format, ...) __attribute__((format(printf, 1, 2)));

// The same failure with the node's name, operator and input types, as the user's file has them.
Status name_node(const Graph& graph, NodeId node, const Status& status);

bool is_concrete(const Shape& shape);  // no size is -1
bool is_concrete(const std::optional<Shape>& shape);

// The shape both broadcast to, NumPy's rule; sizes may be -1.
Result<Shape> broadcast(const Shape& a, const Shape& b);

// `axis` counted from the front. INVALID_ARGUMENT unless in [-rank, rank).
Result<std::int64_t> normalise_axis(std::int64_t axis, std::size_t rank);
// The same for a list; INVALID_ARGUMENT where one comes twice.
Result<std::vector<std::int64_t>> normalise_axes(std::span<const std::int64_t> axes,
                                                 std::size_t rank);

// Product of sizes [from, to) of a concrete shape; the largest number where it does not fit.
std::int64_t product(const Shape& shape, std::size_t from, std::size_t to);
Shape row_major_strides(const Shape& shape);

// Which element types an operand may have.
enum class TypeRule { Any, Numeric, Float, Integer, Boolean };
// INVALID_ARGUMENT for an input of a known type that the rule forbids.
Status check_type(const InferContext& context, std::size_t input, TypeRule rule);
// INVALID_ARGUMENT where two inputs of [first, last) have different known types. Gives the type, or
// Undefined.
Result<DataType> common_type(const InferContext& context, std::size_t first, std::size_t last);
// Broadcast of all the node's inputs in [first, last); absent where one has no known rank.
Result<std::optional<Shape>> common_shape(const InferContext& context, std::size_t first,
                                          std::size_t last);

// Output 0 is of the type and shape of input 0.
Status infer_same(InferContext& context);

// The values of a HOST operand: absent where it is not known yet, the fallback where it is left
// out. INVALID_ARGUMENT where it is no list of integers.
Result<std::optional<std::vector<std::int64_t>>> host_ints(const InferContext& context,
                                                           std::size_t input,
                                                           std::vector<std::int64_t> fallback = {});

// Upgrades.
void set_input(UpgradeContext& context, std::size_t input, ValueId value);
// Attribute of integers -> constant input; nothing where the attribute is not there.
void ints_to_input(UpgradeContext& context, std::string_view attribute, std::size_t input);
// Attribute of a float -> constant input of one element, of the type of input 0 where that is
// known.
void float_to_input(UpgradeContext& context, std::string_view attribute, std::size_t input);
// Input `input` is given the rank of input 0, its own first axis at `axis` of it, by a node before.
void align_input(UpgradeContext& context, std::size_t input, std::int64_t axis);
// Before opset 6 every operator that could work in place had `consumed_inputs`.
Status drop_consumed_inputs(UpgradeContext& context);

}  // namespace miniinfer
