#pragma once

#include <cstddef>
#include <cstdint>

namespace miniinfer::cpu {

// keys[i] is a number whose order is that of element i, at from[i * step]; zeros are equal, and so
// are NaNs. What sorts or compares keys is compiled once for all types. `flip` is 0, or ~0 to
// reverse the order; `nan` is the key of NaNs.
using OrderKeys = void (*)(std::uint64_t* keys, const std::byte* from, std::int64_t step,
                           std::int64_t n, std::uint64_t flip, std::uint64_t nan);

// Null where elements of this type have no order.
OrderKeys order_keys(int dtype) noexcept;

}  // namespace miniinfer::cpu
