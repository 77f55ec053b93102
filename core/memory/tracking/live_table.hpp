#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace miniinfer::tracking {

using NodeId = std::uint32_t;
inline constexpr NodeId kNil = ~NodeId{0};

// What is known of one block. Written by the thread that gives it out, read by whoever asks what is
// in use; `word` says whether what was read is of one block.
struct alignas(64) Node {
  // Twice the number of blocks it was of, and one while it is of one.
  std::atomic<std::uint32_t> word{0};
  NodeId next = kNil;  // in a list of free nodes
  std::atomic<std::uint64_t> handle{0}, offset{0}, bytes{0};
  std::atomic<std::uint64_t> token{0};  // of the upstream's block
  std::atomic<std::uint64_t> stream{0}, sequence{0};
  std::atomic<std::uint32_t> thread_and_tag{0};  // tag in the upper bits

  static constexpr std::uint32_t kTagShift = 24;

  bool is_live() const noexcept { return (word.load(std::memory_order_acquire) & 1) != 0; }
};
static_assert(sizeof(Node) == 64);

// Nodes by number, in address space that is touched as it is needed: they never move. Threads take
// free ones in chains and have lists of their own.
class LiveTable {
 public:
  static constexpr std::uint32_t kIdBits = 22;  // ids fit in so many
  static constexpr std::uint32_t kChain = 64;

  LiveTable() noexcept;
  LiveTable(const LiveTable&) = delete;
  LiveTable& operator=(const LiveTable&) = delete;
  ~LiveTable();

  Node& operator[](NodeId id) const noexcept { return nodes_[id]; }
  // Null where there was never such a node. [any-thread]
  Node* find(NodeId id) const noexcept {
    return id < end_.load(std::memory_order_acquire) ? nodes_ + id : nullptr;
  }
  NodeId end() const noexcept { return end_.load(std::memory_order_acquire); }

  // kChain free nodes, linked by `next`; kNil where there are no more. [any-thread]
  NodeId take_chain();
  void give_chain(NodeId first);

 private:
  // Not 0: a node that has the place in its page that a pool's node has in its own holds that one
  // up, for 4 ns a block, and the first nodes of both are used most.
  static constexpr NodeId kFirst = 29;

  Node* nodes_ = nullptr;
  std::uint32_t most_ = 0;
  std::atomic<NodeId> end_{kFirst};
  std::mutex mutex_;
  std::vector<NodeId> chains_;
};

}  // namespace miniinfer::tracking
