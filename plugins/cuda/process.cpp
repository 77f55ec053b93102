#include "plugins/cuda/process.hpp"

#include <pthread.h>

#include <atomic>
#include <cstdlib>

namespace miniinfer::cuda {
namespace {

std::atomic<std::uint32_t> fork_count{0};
std::atomic<bool> exit_begun{false};

}  // namespace

void watch_process() {
  // Handlers run in the reverse order of their registration: ours comes before the destructors of
  // the CUDA runtime, which was there first.
  static const int watching =
      pthread_atfork(nullptr, nullptr, [] { fork_count.fetch_add(1, std::memory_order_relaxed); }) +
      std::atexit([] { exit_begun.store(true, std::memory_order_release); });
  static_cast<void>(watching);
}

std::uint32_t forks() noexcept { return fork_count.load(std::memory_order_relaxed); }

bool exiting() noexcept { return exit_begun.load(std::memory_order_acquire); }

}  // namespace miniinfer::cuda
