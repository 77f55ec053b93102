#include "core/platform/asymmetric_fence.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace miniinfer {
namespace {

bool call(int command) noexcept { return ::syscall(SYS_membarrier, command, 0, 0) == 0; }

}  // namespace

const bool kHasHeavyFence = call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);

void heavy_fence() noexcept {
  if (kHasHeavyFence && call(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return;
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace miniinfer
