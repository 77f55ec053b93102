#include "core/memory/pool/block_map.hpp"

#include <algorithm>
#include <utility>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"

namespace miniinfer::pool {
namespace {

// Where a block would begin in a node.
std::uint64_t aligned_begin(const Range& range, std::uint64_t offset,
                            std::uint64_t alignment) noexcept {
  return align_up(range.base + offset, alignment) - range.base;
}

}  // namespace

bool BlockMap::fits_aligned(const Node& node, std::uint64_t bytes,
                            std::uint64_t alignment) const noexcept {
  return aligned_begin(*node.range, node.offset, alignment) - node.offset <= node.bytes - bytes;
}

inline void BlockMap::link(NodeId& head, NodeId id) noexcept {
  Node& node = nodes_[id];
  node.previous = kNil;
  node.next = head;
  if (head != kNil) nodes_[head].previous = id;
  head = id;
}

inline void BlockMap::unlink(NodeId& head, NodeId id) noexcept {
  Node& node = nodes_[id];
  (node.previous == kNil ? head : nodes_[node.previous].next) = node.next;
  if (node.next != kNil) nodes_[node.next].previous = node.previous;
  node.next = node.previous = kNil;
}

inline void BlockMap::leave_age(NodeId id) noexcept {
  Node& node = nodes_[id];
  if (node.owner == 0) return;
  Owner& owner = owners_[node.owner];
  (node.earlier == kNil ? owner.oldest : nodes_[node.earlier].later) = node.later;
  (node.later == kNil ? owner.newest : nodes_[node.later].earlier) = node.earlier;
  node.later = node.earlier = kNil;
}

inline bool BlockMap::may_merge(const Node& a, const Node& b) const noexcept {
  return b.state() == State::Free && (a.owner == b.owner || a.owner == 0 || b.owner == 0);
}

void BlockMap::add_owner(std::uint16_t owner) {
  if (owner >= owners_.size()) owners_.resize(owner + 1u);
  if (owners_[owner].heads.empty()) owners_[owner].heads.assign(kBins, kNil);
}

std::uint64_t BlockMap::largest_free(std::uint16_t owner) const noexcept {
  std::uint64_t largest = 0;
  for (const std::uint16_t slot : {std::uint16_t{0}, owner}) {
    if (slot >= owners_.size()) continue;
    const std::uint32_t bin = owners_[slot].bins.last();
    if (bin == kBins) continue;
    for (NodeId id = owners_[slot].heads[bin]; id != kNil; id = nodes_[id].next) {
      largest = std::max(largest, nodes_[id].bytes);
    }
  }
  return largest;
}

std::uint64_t BlockMap::largest_free() const noexcept {
  std::uint64_t largest = 0;
  for (std::size_t slot = 0; slot < owners_.size(); ++slot) {
    largest = std::max(largest, largest_free(static_cast<std::uint16_t>(slot)));
  }
  return largest;
}

Range* BlockMap::add_range(const Range& range, State state) {
  if (!nodes_.reserve(1)) return nullptr;
  const NodeId id = nodes_.add();
  Range& added = ranges_.emplace_back(range);
  added.first = id;
  Node& node = nodes_[id];
  node.offset = 0;
  node.bytes = range.bytes;
  node.range = &added;
  node.owner = 0;
  node.use = 0;
  state == State::Free ? enter_bin(id) : enter_hole(id);
  return &added;
}

void BlockMap::remove_range(NodeId first) {
  const Range* const range = nodes_[first].range;
  for (NodeId id = first; id != kNil;) {
    const NodeId after = nodes_[id].after;
    if (nodes_[id].state() == State::Free) leave_bin(id);
    if (nodes_[id].state() == State::Hole) leave_hole(id);
    nodes_.remove(id);
    id = after;
  }
  ranges_.remove_if([&](const Range& other) { return &other == range; });
}

bool BlockMap::is_unused(const Range& range) const noexcept {
  for (NodeId id = range.first; id != kNil; id = nodes_[id].after) {
    const State state = nodes_[id].state();
    if (state == State::Hole || (state == State::Free && nodes_[id].owner == 0)) continue;
    return false;
  }
  return true;
}

[[gnu::flatten]] NodeId BlockMap::take(std::uint64_t bytes, std::uint64_t alignment,
                                       std::uint16_t owner, std::uint32_t probes) noexcept {
  const auto any = [](const Node&) { return true; };
  NodeId best = owner < owners_.size() ? find(owners_[owner], bytes, alignment, probes, any) : kNil;
  // A stream's own block that is hardly too large is as good as any.
  if (owner != 0 && (best == kNil || nodes_[best].bytes - bytes > bytes / kBinsPerOctave)) {
    best = find(owners_[0], bytes, alignment, probes, any, best);
  }
  return best == kNil ? kNil : take_from(best, bytes, alignment);
}

NodeId BlockMap::take_from(NodeId free, std::uint64_t bytes, std::uint64_t alignment) noexcept {
  if (alignment > unit_) {
    const Node& node = nodes_[free];
    const std::uint64_t head = aligned_begin(*node.range, node.offset, alignment) - node.offset;
    if (head != 0) {
      leave_bin(free);
      const NodeId rest = split(free, head);
      enter_bin(free);
      enter_bin(rest);
      if (node.owner != 0) age_after(rest, free);
      free = rest;
    }
  }
  NodeId live = free;
  if (nodes_[free].bytes == bytes) {
    leave_bin(free);
    leave_age(free);
  } else {
    live = cut_front(free, bytes);
  }
  nodes_[live].enter(State::Live);
  return live;
}

[[gnu::flatten]] void BlockMap::give(NodeId id, std::uint16_t owner, std::uint64_t epoch) noexcept {
  Node& node = nodes_[id];
  node.owner = owner;
  node.use = owner == 0 ? 0 : epoch;
  node.tag = 0;
  merge(id);
}

bool BlockMap::settle(std::uint16_t owner, std::uint64_t epoch) noexcept {
  if (owner == 0 || owner >= owners_.size()) return false;
  bool any = false;
  for (;;) {
    const NodeId id = owners_[owner].oldest;
    if (id == kNil || nodes_[id].use > epoch) return any;
    leave_bin(id);
    leave_age(id);
    nodes_[id].owner = 0;
    nodes_[id].use = 0;
    merge(id);
    any = true;
  }
}

Place BlockMap::find_place(const Range& range, std::uint64_t bytes, std::uint64_t alignment,
                           std::uint64_t granule, std::uint16_t owner) const noexcept {
  Place best;
  std::uint64_t least = ~std::uint64_t{0};
  const auto usable = [&](NodeId id) {
    return id != kNil && nodes_[id].state() == State::Free &&
           (nodes_[id].owner == 0 || nodes_[id].owner == owner);
  };
  for (NodeId id = holes_; id != kNil; id = nodes_[id].next) {
    const Node& hole = nodes_[id];
    if (hole.range != &range) continue;
    const std::uint64_t hole_end = hole.offset + hole.bytes;
    const std::uint64_t low = usable(hole.before) ? nodes_[hole.before].offset : hole.offset;
    const std::uint64_t high =
        usable(hole.after) ? nodes_[hole.after].offset + nodes_[hole.after].bytes : hole_end;
    const std::uint64_t begin = aligned_begin(range, low, alignment);
    if (begin > high || high - begin < bytes) continue;
    const std::uint64_t end = begin + bytes;
    // From the low end, so that what is left of the hole stays in one piece.
    const std::uint64_t from = std::max(hole.offset, begin & ~(granule - 1));
    const std::uint64_t to = std::min(hole_end, align_up(end, granule));
    if (from >= to) continue;
    if (to - from < least) {
      least = to - from;
      best = {id, begin, end, from, to};
    }
  }
  return best;
}

NodeId BlockMap::detach(NodeId id, std::uint64_t begin, std::uint64_t end) noexcept {
  const bool free = nodes_[id].state() == State::Free;
  // The one before it in its owner's list by age; where the rests go.
  NodeId aged = nodes_[id].earlier;
  free ? leave_bin(id) : leave_hole(id);
  leave_age(id);
  const auto put_back = [&](NodeId rest) {
    if (!free) return enter_hole(rest);
    enter_bin(rest);
    if (nodes_[rest].owner == 0) return;
    age_after(rest, aged);
    aged = rest;
  };
  if (nodes_[id].offset < begin) {
    const NodeId head = id;
    id = split(head, begin - nodes_[head].offset);
    put_back(head);
  }
  if (end < nodes_[id].offset + nodes_[id].bytes) put_back(split(id, end - begin));
  nodes_[id].enter(State::Moving);
  return id;
}

void BlockMap::make_hole(NodeId id) noexcept {
  nodes_[id].owner = 0;
  nodes_[id].use = 0;
  const NodeId before = nodes_[id].before, after = nodes_[id].after;
  if (after != kNil && nodes_[after].state() == State::Hole) {
    leave_hole(after);
    absorb_after(id);
  }
  if (before != kNil && nodes_[before].state() == State::Hole) return absorb_after(before);
  enter_hole(id);
}

NodeId BlockMap::divide(NodeId id, std::uint64_t offset) noexcept {
  const NodeId rest = split(id, offset - nodes_[id].offset);
  nodes_[rest].enter(State::Moving);
  return rest;
}

void BlockMap::shorten(NodeId id, std::uint64_t end) noexcept {
  if (nodes_[id].offset + nodes_[id].bytes > end) {
    make_hole(split(id, end - nodes_[id].offset));
  }
}

void BlockMap::enter_hole(NodeId id) noexcept {
  nodes_[id].enter(State::Hole);
  link(holes_, id);
}

void BlockMap::enter_bin(NodeId id) noexcept {
  Node& node = nodes_[id];
  node.enter(State::Free);
  Owner& owner = owners_[node.owner];
  const std::uint32_t bin = bin_of(units(node.bytes));
  link(owner.heads[bin], id);
  owner.bins.add(bin);
  count_free(node.owner, node.bytes);
}

void BlockMap::leave_bin(NodeId id) noexcept {
  Node& node = nodes_[id];
  Owner& owner = owners_[node.owner];
  const std::uint32_t bin = bin_of(units(node.bytes));
  unlink(owner.heads[bin], id);
  if (owner.heads[bin] == kNil) owner.bins.remove(bin);
  count_free(node.owner, -node.bytes);
}

void BlockMap::resize(NodeId id, std::uint64_t bytes) noexcept {
  Node& node = nodes_[id];
  Owner& owner = owners_[node.owner];
  const std::uint32_t from = bin_of(units(node.bytes)), to = bin_of(units(bytes));
  count_free(node.owner, bytes - node.bytes);
  node.bytes = bytes;
  if (from == to) return;
  unlink(owner.heads[from], id);
  if (owner.heads[from] == kNil) owner.bins.remove(from);
  link(owner.heads[to], id);
  owner.bins.add(to);
}

void BlockMap::age_after(NodeId id, NodeId before) noexcept {
  Node& node = nodes_[id];
  Owner& owner = owners_[node.owner];
  node.earlier = before;
  NodeId& link = before == kNil ? owner.oldest : nodes_[before].later;
  node.later = link;
  link = id;
  (node.later == kNil ? owner.newest : nodes_[node.later].earlier) = id;
}

NodeId BlockMap::split(NodeId id, std::uint64_t bytes) noexcept {
  const NodeId rest = nodes_.add();
  Node& node = nodes_[id];
  Node& tail = nodes_[rest];
  tail.offset = node.offset + bytes;
  tail.bytes = node.bytes - bytes;
  tail.use = node.use;
  tail.owner = node.owner;
  tail.range = node.range;
  tail.before = id;
  tail.after = node.after;
  if (node.after != kNil) nodes_[node.after].before = rest;
  node.after = rest;
  node.bytes = bytes;
  return rest;
}

NodeId BlockMap::cut_front(NodeId free, std::uint64_t bytes) noexcept {
  const NodeId front = nodes_.add();
  Node& node = nodes_[free];
  Node& cut = nodes_[front];
  cut.offset = node.offset;
  cut.bytes = bytes;
  cut.owner = node.owner;
  cut.range = node.range;
  cut.before = node.before;
  cut.after = free;
  (node.before == kNil ? node.range->first : nodes_[node.before].after) = front;
  node.before = front;
  node.offset += bytes;
  resize(free, node.bytes - bytes);
  return front;
}

void BlockMap::absorb_after(NodeId id) noexcept {
  Node& node = nodes_[id];
  const NodeId gone = node.after;
  node.bytes += nodes_[gone].bytes;
  node.after = nodes_[gone].after;
  if (node.after != kNil) nodes_[node.after].before = id;
  nodes_.remove(gone);
}

void BlockMap::absorb_before(NodeId id) noexcept {
  Node& node = nodes_[id];
  const NodeId gone = node.before;
  node.offset = nodes_[gone].offset;
  node.bytes += nodes_[gone].bytes;
  node.before = nodes_[gone].before;
  (node.before == kNil ? node.range->first : nodes_[node.before].after) = id;
  nodes_.remove(gone);
}

void BlockMap::merge(NodeId id) noexcept {
  Node& node = nodes_[id];
  const auto mergeable = [&](NodeId other) {
    if (other == kNil || !may_merge(node, nodes_[other])) return kNil;
    if (nodes_[other].owner != 0) node.owner = nodes_[other].owner;
    node.use = std::max(node.use, nodes_[other].use);
    return other;
  };
  const NodeId after = mergeable(node.after);
  const NodeId before = mergeable(node.before);
  const NodeId kept = before != kNil ? before : after;
  if (kept == kNil) {
    enter_bin(id);
    return age_in_order(id);
  }
  // A free neighbour takes it in, and stays where it is in its lists when it can.
  const std::uint16_t owner = node.owner;
  const std::uint64_t use = node.use;
  Node& whole = nodes_[kept];
  const std::uint64_t listed = whole.bytes;
  if (before == kNil) {
    absorb_before(after);
  } else {
    absorb_after(before);
    if (after != kNil) {
      leave_bin(after);
      leave_age(after);
      absorb_after(before);
    }
  }
  const std::uint64_t bytes = std::exchange(whole.bytes, listed);
  const bool ages = whole.owner != owner || whole.use != use;
  if (ages) leave_age(kept);
  if (whole.owner == owner) {
    resize(kept, bytes);
  } else {
    leave_bin(kept);
    whole.owner = owner;
    whole.bytes = bytes;
    enter_bin(kept);
  }
  whole.use = use;
  if (ages) age_in_order(kept);
}

void BlockMap::age_in_order(NodeId id) noexcept {
  const Node& node = nodes_[id];
  if (node.owner == 0) return;
  // Blocks come in order, but for new memory, which nobody has used.
  const Owner& owner = owners_[node.owner];
  NodeId before = owner.newest;
  if (owner.oldest == kNil || node.use <= nodes_[owner.oldest].use) before = kNil;
  while (before != kNil && nodes_[before].use > node.use) before = nodes_[before].earlier;
  age_after(id, before);
}

std::string BlockMap::check() const {
  std::uint64_t free = 0;
  std::size_t free_nodes = 0, holes = 0;
  for (const Range& range : ranges_) {
    std::uint64_t at = 0;
    NodeId before = kNil;
    for (NodeId id = range.first; id != kNil; before = id, id = nodes_[id].after) {
      const Node& node = nodes_[id];
      if (node.range != &range) return format("node %u is in another range", id);
      if (node.offset != at || node.bytes == 0 || node.bytes % unit_ != 0) {
        return format("node %u begins at %llu, not %llu", id,
                      static_cast<unsigned long long>(node.offset),
                      static_cast<unsigned long long>(at));
      }
      if (node.before != before) return format("node %u has a wrong neighbour", id);
      if (node.state() == State::Unused) return format("node %u is not in use", id);
      if (before != kNil && node.state() == State::Hole && nodes_[before].state() == State::Hole) {
        return format("holes %u and %u are not one", before, id);
      }
      holes += node.state() == State::Hole;
      if (node.state() == State::Free) {
        free += node.bytes;
        ++free_nodes;
        if (before != kNil && nodes_[before].state() == State::Free &&
            may_merge(node, nodes_[before])) {
          return format("nodes %u and %u are not merged", before, id);
        }
      }
      at += node.bytes;
    }
    if (at != range.bytes) return "a range is not covered";
  }
  if (free != free_bytes_) return "the sum of free bytes is wrong";
  std::size_t listed = 0;
  for (std::size_t slot = 0; slot < owners_.size(); ++slot) {
    const Owner& owner = owners_[slot];
    std::uint64_t bytes = 0;
    std::size_t members = 0;
    for (std::uint32_t bin = 0; bin < owner.heads.size(); ++bin) {
      if ((owner.bins.at_or_after(bin) == bin) != (owner.heads[bin] != kNil)) {
        return format("bin %u of owner %zu is marked wrongly", bin, slot);
      }
      for (NodeId id = owner.heads[bin]; id != kNil; id = nodes_[id].next) {
        const Node& node = nodes_[id];
        if (node.state() != State::Free || node.owner != slot || bin_of(units(node.bytes)) != bin) {
          return format("node %u is in a bin it does not belong to", id);
        }
        bytes += node.bytes;
        ++members;
      }
    }
    if (bytes != owner.bytes) return format("the bytes of owner %zu are wrong", slot);
    std::size_t aged = 0;
    std::uint64_t last = 0;
    for (NodeId id = owner.oldest; id != kNil; id = nodes_[id].later, ++aged) {
      if (nodes_[id].use < last) return format("node %u is older than the one before it", id);
      last = nodes_[id].use;
    }
    if (slot != 0 && aged != members) return format("owner %zu has lost a block's age", slot);
    listed += members;
  }
  for (NodeId id = holes_; id != kNil; id = nodes_[id].next) {
    if (nodes_[id].state() != State::Hole) return format("node %u is no hole", id);
    --holes;
  }
  if (holes != 0) return "a hole is not among the holes";
  return listed == free_nodes ? std::string() : "a free block is in no bin";
}

}  // namespace miniinfer::pool
