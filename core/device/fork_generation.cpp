#include "core/device/fork_generation.hpp"

#include <pthread.h>

#include <atomic>

namespace miniinfer {
namespace {

std::atomic<std::uint32_t> generation{0};

void on_child() { generation.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

std::uint32_t fork_generation() noexcept {
  static const int registered = ::pthread_atfork(nullptr, nullptr, on_child);
  static_cast<void>(registered);
  return generation.load(std::memory_order_relaxed);
}

}  // namespace miniinfer
