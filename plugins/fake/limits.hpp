#pragma once

#include <cstdint>

namespace miniinfer::fake {

inline constexpr std::uint32_t kMaxInstructions = 32;  // of a pointwise program
inline constexpr std::uint32_t kMaxNodes = 2;          // of a region

}  // namespace miniinfer::fake
