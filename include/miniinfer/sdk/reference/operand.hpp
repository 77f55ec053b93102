#pragma once

// Operands as the reference kernels see them: a shape with strides, over plain host memory.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "miniinfer/sdk/error.hpp"
#include "miniinfer/sdk/region.hpp"

namespace miniinfer::sdk::reference {

using Index = std::span<const std::int64_t>;

struct Operand {
  miniinfer_dtype dtype = MINIINFER_UNDEFINED;
  bool absent = false;
  std::int64_t bytes = 0;  // of an element
  std::vector<std::int64_t> dims;
  std::vector<std::int64_t> strides;  // in elements

  std::size_t rank() const { return dims.size(); }
  std::int64_t count() const { return element_count(dims); }

  // Bytes from the base to the element at `index`, which has as many numbers as the rank.
  std::int64_t offset(Index index) const {
    std::int64_t elements = 0;
    for (std::size_t axis = 0; axis < rank(); ++axis) elements += index[axis] * strides[axis];
    return elements * bytes;
  }

  // How far the elements reach from the base: what a buffer must hold.
  std::uint64_t extent_bytes() const {
    std::int64_t last = 0;
    for (std::size_t axis = 0; axis < rank(); ++axis) {
      if (dims[axis] == 0) return 0;
      last += (dims[axis] - 1) * std::max<std::int64_t>(strides[axis], 0);
    }
    return static_cast<std::uint64_t>((last + 1) * bytes);
  }
};

// Copies what a value says of itself; throws UNSUPPORTED for forms the reference does not know.
inline Operand make_operand(const miniinfer_value& value) {
  Operand operand;
  operand.dtype = value.dtype;
  operand.absent = is_absent(value);
  if (operand.absent) return operand;
  operand.bytes = element_bytes(value.dtype);
  if (operand.bytes == 0) {
    fail(MINIINFER_UNSUPPORTED, "type %s is not implemented", dtype_name(value.dtype));
  }
  if (value.block > 1) {
    fail(MINIINFER_UNSUPPORTED, "operands in blocks of %d are not implemented", value.block);
  }
  operand.dims.assign(dims(value).begin(), dims(value).end());
  operand.strides.assign(strides(value).begin(), strides(value).end());
  return operand;
}

// Calls f(index) for every position of a shape, row-major.
template <class F>
void for_each_index(Index dims, F&& f) {
  if (std::find(dims.begin(), dims.end(), 0) != dims.end()) return;
  std::vector<std::int64_t> index(dims.size(), 0);
  for (;;) {
    f(Index(index));
    std::size_t axis = dims.size();
    while (axis > 0 && ++index[axis - 1] == dims[axis - 1]) index[--axis] = 0;
    if (axis == 0) return;
  }
}

}  // namespace miniinfer::sdk::reference
