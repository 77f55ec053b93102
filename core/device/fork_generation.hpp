#pragma once

#include <cstdint>

namespace miniinfer {

// A number that a forked child sees changed. A driver's state and the threads of a pool do not
// survive fork: whoever makes such things keeps the number and compares. [any-thread]
std::uint32_t fork_generation() noexcept;

}  // namespace miniinfer
