#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "miniinfer/data_type.hpp"

namespace miniinfer {

// A tensor whose elements are known: a weight, a folded value, an attribute. Immutable and shared.
// `bytes` is packed and row-major, of any alignment (weights are views into the mapped model file),
// and lives as long as `keep`. Strings are in `strings` instead.
struct Constant {
  TensorType type;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> keep;
  std::vector<std::string> strings;

  // Integers of any width and bool as int64; empty for other types. For small values: axes, shapes.
  std::vector<std::int64_t> as_ints() const;
  // Any real type as double; empty for strings.
  std::vector<double> as_doubles() const;
};

using ConstantPtr = std::shared_ptr<const Constant>;

// Copies the bytes (as many as the type needs).
ConstantPtr make_constant(TensorType type, std::span<const std::byte> bytes);
ConstantPtr make_constant_ints(std::span<const std::int64_t> values);  // 1-D INT64
// One element of the type, with `value` converted to it.
ConstantPtr make_constant_scalar(DataType type, double value);

}  // namespace miniinfer
