#pragma once

#include <atomic>
#include <cstdint>
#include <new>

namespace miniinfer::pool {

using NodeId = std::uint32_t;
inline constexpr NodeId kNil = ~NodeId{0};

// A node's word above its id: it names the node only until that enters another state.
using Token = std::uint64_t;
inline constexpr Token kNoToken = ~Token{0};

enum class State : std::uint8_t {
  Unused,  // no node
  Live,    // the user's
  Cached,  // in a thread's magazine
  Held,    // given back, but not to be given out before something else has happened
  Free,    // in a bin
  Moving,  // out of the map while memory is mapped or unmapped there
  Hole,    // addresses without memory
};

struct Range;

// One stretch of a range: who has it, and who is beside it. Nodes lie outside the memory they
// speak of, which the host may not be able to touch. A cache line each.
struct alignas(64) Node {
  std::uint64_t offset = 0;  // in its range
  std::uint64_t bytes = 0;
  // Live: bytes asked for. Free, Held: the epoch of the owner's last use. Cached: the token of the
  // next in the magazine.
  std::uint64_t use = 0;
  Range* range = nullptr;
  NodeId before = kNil, after = kNil;   // by address, in the range
  NodeId next = kNil, previous = kNil;  // in a bin, or of holes
  // In its owner's list of free nodes, oldest first. Cached: `later` is how many are below it.
  NodeId later = kNil, earlier = kNil;
  std::atomic<std::uint32_t> word{0};  // state, and a number that each state has once
  std::uint16_t owner = 0;  // slot of the stream that used it last; 0: nobody's work needs it
  std::uint16_t tag = 0;

  State state() const noexcept { return state(word.load(std::memory_order_relaxed)); }
  static State state(std::uint64_t word) noexcept { return static_cast<State>(word & kStateMask); }
  std::uint32_t enter(State state) noexcept {
    const std::uint32_t next_word = advance(word.load(std::memory_order_relaxed), state);
    word.store(next_word, std::memory_order_relaxed);
    return next_word;
  }
  void enter(Token token) noexcept {
    word.store(static_cast<std::uint32_t>(token >> 32), std::memory_order_relaxed);
  }

  static constexpr std::uint32_t kStateMask = 7;
  // The word that follows, `by` places up: 32 for that of a token.
  template <class Word>
  static constexpr Word advance(Word word, State state, int by = 0) noexcept {
    return (word & ~(Word{kStateMask} << by)) +
           (Word{kStateMask + 1 + static_cast<std::uint32_t>(state)} << by);
  }
};
static_assert(sizeof(Node) == 64);

// Nodes by number, in one array whose address space is reserved and touched as it is needed: they
// never move, so that a thread may read one that it owns without a lock.
class NodeTable {
 public:
  // Ids fit in so many bits.
  static constexpr std::uint32_t kIdBits = 22;

  NodeTable() noexcept;
  NodeTable(const NodeTable&) = delete;
  NodeTable& operator=(const NodeTable&) = delete;
  ~NodeTable();

  Node& operator[](NodeId id) const noexcept { return nodes_[id]; }
  // Null where there was never such a node. [any-thread]
  Node* find(NodeId id) const noexcept {
    return id < end_.load(std::memory_order_acquire) ? nodes_ + id : nullptr;
  }

  // After reserve() has promised so many.
  NodeId add() noexcept {
    --spare_;
    if (unused_ == kNil) {
      const NodeId id = end_.load(std::memory_order_relaxed);
      new (nodes_ + id) Node;
      end_.store(id + 1, std::memory_order_release);
      return id;
    }
    const NodeId id = unused_;
    unused_ = nodes_[id].next;
    nodes_[id].next = kNil;
    return id;
  }
  void remove(NodeId id) noexcept {
    Node& node = nodes_[id];
    node.enter(State::Unused);
    node.before = node.after = node.previous = node.later = node.earlier = kNil;
    node.tag = 0;
    node.next = unused_;
    unused_ = id;
    ++spare_;
  }
  // False where there are too many. Some are kept for who must not fail half way.
  bool reserve(std::uint32_t nodes, std::uint32_t kept = 0) const noexcept {
    return spare_ >= nodes + kept;
  }
  std::uint32_t count() const noexcept { return most_ - spare_; }

 private:
  Node* nodes_ = nullptr;
  NodeId unused_ = kNil;
  std::uint32_t most_ = 0;
  std::uint32_t spare_ = 0;
  std::atomic<NodeId> end_{0};
};

}  // namespace miniinfer::pool
