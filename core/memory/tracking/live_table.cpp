#include "core/memory/tracking/live_table.hpp"

#include <sys/mman.h>

#include <new>

namespace miniinfer::tracking {
namespace {

constexpr std::uint32_t kMost = 1u << LiveTable::kIdBits;
constexpr std::uint32_t kLeast = 1u << 16;

}  // namespace

LiveTable::LiveTable() noexcept {
  // Less where the process may not have that much address space.
  for (std::uint32_t most = kMost; most >= kLeast; most /= 2) {
    void* const memory = ::mmap(nullptr, most * sizeof(Node), PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) continue;
    nodes_ = static_cast<Node*>(memory);
    most_ = most;
    return;
  }
}

LiveTable::~LiveTable() {
  if (nodes_ != nullptr) ::munmap(nodes_, most_ * sizeof(Node));
}

NodeId LiveTable::take_chain() {
  const std::lock_guard lock(mutex_);
  if (!chains_.empty()) {
    const NodeId first = chains_.back();
    chains_.pop_back();
    return first;
  }
  const NodeId first = end_.load(std::memory_order_relaxed);
  if (most_ - first < kChain) return kNil;
  for (NodeId id = first; id < first + kChain; ++id) {
    new (nodes_ + id) Node;
    nodes_[id].next = id + 1 < first + kChain ? id + 1 : kNil;
  }
  end_.store(first + kChain, std::memory_order_release);
  return first;
}

void LiveTable::give_chain(NodeId first) {
  const std::lock_guard lock(mutex_);
  chains_.push_back(first);
}

}  // namespace miniinfer::tracking
