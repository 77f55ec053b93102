#pragma once

// What becomes of the process after a device was opened: a forked child has none of it, and at exit
// the driver may be gone before us. Neither may call CUDA any more, destructors included.

#include <cstdint>

namespace miniinfer::cuda {

// Begins to notice forks and exit; the first call counts. [any-thread]
void watch_process();

// Rises by one in a forked child. [any-thread]
std::uint32_t forks() noexcept;

// Whether exit has begun. [any-thread]
bool exiting() noexcept;

}  // namespace miniinfer::cuda
