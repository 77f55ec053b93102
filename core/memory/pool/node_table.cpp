#include "core/memory/pool/node_table.hpp"

#include <sys/mman.h>

namespace miniinfer::pool {
namespace {

constexpr std::uint32_t kMost = 1u << NodeTable::kIdBits;
constexpr std::uint32_t kLeast = 1u << 16;

}  // namespace

NodeTable::NodeTable() noexcept {
  // Less where the process may not have that much address space.
  for (std::uint32_t most = kMost; most >= kLeast; most /= 2) {
    void* const memory = ::mmap(nullptr, most * sizeof(Node), PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) continue;
    nodes_ = static_cast<Node*>(memory);
    most_ = spare_ = most;
    return;
  }
}

NodeTable::~NodeTable() {
  if (nodes_ != nullptr) ::munmap(nodes_, most_ * sizeof(Node));
}

}  // namespace miniinfer::pool
