#pragma once

// The bookkeeping of a pool: which stretch of which range is whose. It knows sizes, addresses and
// who used a block last, and touches no memory and no driver, so that it serves devices whose
// memory has no addresses, and can be tested anywhere.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "core/memory/pool/node_table.hpp"
#include "core/memory/pool/size_bins.hpp"

namespace miniinfer::pool {

// Addresses that belong together: a segment of the driver's, or reserved addresses into which
// memory is mapped piece by piece.
struct Range {
  std::uint64_t handle = 0;
  std::byte* host = nullptr;
  std::uint64_t base = 0;    // added to an offset for alignment: the address, where there is one
  std::uint64_t origin = 0;  // added to an offset for the device: where in the handle it begins
  std::uint64_t bytes = 0;
  std::uint64_t token = 0;  // of the upstream's block
  NodeId first = kNil;
  std::uint32_t section = 0;  // the owner's number for the map
};

// Where memory has to be mapped for a block to fit.
struct Place {
  NodeId hole = kNil;                                // kNil: nowhere
  std::uint64_t begin = 0, end = 0;                  // the block, with what is free beside the hole
  std::uint64_t missing_begin = 0, missing_end = 0;  // to be mapped, in whole granules
};

// A block that is free goes to the bins of its owner, the stream whose work used it last, or to
// those of nobody (owner 0) when that work is known to be done. Neighbours are merged where they
// have one owner, or one of them has none. [one-at-a-time]
class BlockMap {
 public:
  // Offsets and sizes are multiples of `unit`, a power of two. `total_free` is kept up to date for
  // all maps that share it.
  BlockMap(NodeTable& nodes, std::uint64_t unit, std::uint64_t& total_free)
      : nodes_(nodes),
        unit_(unit),
        shift_(static_cast<std::uint32_t>(std::countr_zero(unit))),
        total_free_(total_free) {
    add_owner(0);
  }
  BlockMap(const BlockMap&) = delete;
  BlockMap& operator=(const BlockMap&) = delete;

  std::uint64_t unit() const noexcept { return unit_; }
  const std::list<Range>& ranges() const noexcept { return ranges_; }
  std::uint64_t free_bytes() const noexcept { return free_bytes_; }
  // Of one block that a stream `owner` would be given at once.
  std::uint64_t largest_free(std::uint16_t owner) const noexcept;
  std::uint64_t largest_free() const noexcept;
  std::uint64_t owned_bytes(std::uint16_t owner) const noexcept {
    return owner < owners_.size() ? owners_[owner].bytes : 0;
  }

  // Before blocks are given in its name.
  void add_owner(std::uint16_t owner);

  // A range all of which is free, or a hole. Null where there is no memory for nodes.
  Range* add_range(const Range& range, State state);
  // The range of a node of which nothing is in use.
  void remove_range(NodeId first);
  bool is_unused(const Range& range) const noexcept;

  // The best of the blocks looked at that stream `owner` may have at once, cut to size and made
  // Live; kNil where none fits. `bytes` is a multiple of the unit, `alignment` a power of two.
  // Looks at `probes` blocks of a bin: with kAll, what fits is found. Needs two nodes.
  NodeId take(std::uint64_t bytes, std::uint64_t alignment, std::uint16_t owner,
              std::uint32_t probes = kFew) noexcept;
  // The best free block of another stream that `accept(node)` agrees to; not taken.
  template <class Accept>
  NodeId find_foreign(std::uint64_t bytes, std::uint64_t alignment, std::uint16_t owner,
                      Accept&& accept) const noexcept {
    NodeId best = kNil;
    for (std::size_t slot = 1; slot < owners_.size(); ++slot) {
      if (slot == owner) continue;
      const NodeId id = find(owners_[slot], bytes, alignment, kAll, accept);
      if (id != kNil && (best == kNil || nodes_[id].bytes < nodes_[best].bytes)) best = id;
    }
    return best;
  }
  // Takes that one. Needs two nodes.
  NodeId take_from(NodeId free, std::uint64_t bytes, std::uint64_t alignment) noexcept;
  // A block that is Live, Cached, Held or Moving becomes free; `epoch` is its owner's.
  void give(NodeId id, std::uint16_t owner, std::uint64_t epoch) noexcept;
  // All that `owner` used up to `epoch` belongs to nobody from now on. True where that was any.
  bool settle(std::uint16_t owner, std::uint64_t epoch) noexcept;

  // The place in `range` that needs the least memory mapped, beside blocks that stream `owner` may
  // have.
  Place find_place(const Range& range, std::uint64_t bytes, std::uint64_t alignment,
                   std::uint64_t granule, std::uint16_t owner) const noexcept;
  // Takes [begin, end) of a hole or of a free block out of the map: it is Moving. Needs two nodes.
  NodeId detach(NodeId id, std::uint64_t begin, std::uint64_t end) noexcept;
  // What is Moving has lost its memory, or never got it.
  void make_hole(NodeId id) noexcept;
  // Two of one that is Moving; gives the second, which begins at `offset`. Needs a node.
  NodeId divide(NodeId id, std::uint64_t offset) noexcept;
  // What is Moving takes in the node after it, which is Moving as well.
  void join(NodeId id) noexcept { absorb_after(id); }
  // What is Moving is the user's.
  void hand_over(NodeId id) noexcept { nodes_[id].enter(State::Live); }
  // What is Moving is so from its beginning to `end` only; the rest has no memory. Needs a node.
  void shorten(NodeId id, std::uint64_t end) noexcept;
  // The free blocks of nobody's, the largest first, until `visit(id, node)` says false. It may
  // detach the one it is shown.
  template <class F>
  void for_each_unowned(F&& visit) {
    std::vector<NodeId> ids;
    const Owner& nobody = owners_[0];
    for (std::uint32_t bin = kBins; bin-- > 0;) {
      if (nobody.bins.at_or_after(bin) != bin) continue;
      ids.clear();
      for (NodeId id = nobody.heads[bin]; id != kNil; id = nodes_[id].next) ids.push_back(id);
      for (const NodeId id : ids) {
        if (!visit(id, nodes_[id])) return;
      }
    }
  }

  // The nodes of a range in order of address.
  template <class F>
  void for_each(const Range& range, F&& visit) const {
    for (NodeId id = range.first; id != kNil; id = nodes_[id].after) visit(id, nodes_[id]);
  }

  // What is wrong, or nothing: nodes tile their ranges, no two free neighbours that could be
  // merged, bins and lists hold what is free and nothing else, sums agree.
  std::string check() const;

  static constexpr std::uint32_t kFew = 4;
  static constexpr std::uint32_t kAll = ~std::uint32_t{0};

 private:
  struct Owner {
    BinSet bins;
    std::vector<NodeId> heads;  // by bin; empty until first used
    NodeId oldest = kNil, newest = kNil;
    std::uint64_t bytes = 0;
  };

  std::uint64_t units(std::uint64_t bytes) const noexcept { return bytes >> shift_; }
  bool fits(const Node& node, std::uint64_t bytes, std::uint64_t alignment) const noexcept {
    return node.bytes >= bytes && (alignment <= unit_ || fits_aligned(node, bytes, alignment));
  }
  bool fits_aligned(const Node& node, std::uint64_t bytes, std::uint64_t alignment) const noexcept;
  // A better one than `best`, or that.
  template <class Accept>
  NodeId find(const Owner& owner, std::uint64_t bytes, std::uint64_t alignment,
              std::uint32_t probes, Accept&& accept, NodeId best = kNil) const noexcept;
  // In front of the list at `head`, or out of it.
  [[gnu::always_inline]] void link(NodeId& head, NodeId id) noexcept;
  [[gnu::always_inline]] void unlink(NodeId& head, NodeId id) noexcept;
  void enter_hole(NodeId id) noexcept;
  void leave_hole(NodeId id) noexcept { unlink(holes_, id); }
  void enter_bin(NodeId id) noexcept;
  void leave_bin(NodeId id) noexcept;
  // A free node of another size, in the bin for that.
  void resize(NodeId id, std::uint64_t bytes) noexcept;
  // In the list of its owner's blocks by age; `before` is the one before it, or kNil.
  void age_after(NodeId id, NodeId before) noexcept;
  [[gnu::always_inline]] void leave_age(NodeId id) noexcept;
  // Where its last use belongs.
  void age_in_order(NodeId id) noexcept;
  // `id` becomes [its beginning, bytes); the rest is the node that is returned.
  NodeId split(NodeId id, std::uint64_t bytes) noexcept;
  // The beginning of a free block as a node of its own; the block stays in its lists.
  NodeId cut_front(NodeId free, std::uint64_t bytes) noexcept;
  // `id` takes in the node after it, or before it.
  void absorb_after(NodeId id) noexcept;
  void absorb_before(NodeId id) noexcept;
  // Free bytes of an owner, more or (of a negative number) less.
  void count_free(std::uint16_t owner, std::uint64_t bytes) noexcept {
    owners_[owner].bytes += bytes;
    free_bytes_ += bytes;
    total_free_ += bytes;
  }
  // Puts a node that is in no list among the free ones, with the neighbours it can be one with.
  void merge(NodeId id) noexcept;
  [[gnu::always_inline]] bool may_merge(const Node& a, const Node& b) const noexcept;

  NodeTable& nodes_;
  const std::uint64_t unit_;
  const std::uint32_t shift_;
  std::uint64_t& total_free_;
  std::list<Range> ranges_;
  std::vector<Owner> owners_;
  NodeId holes_ = kNil;
  std::uint64_t free_bytes_ = 0;
};

template <class Accept>
NodeId BlockMap::find(const Owner& owner, std::uint64_t bytes, std::uint64_t alignment,
                      std::uint32_t probes, Accept&& accept, NodeId best) const noexcept {
  std::uint32_t bin = bin_of(units(bytes));
  std::uint64_t least = best == kNil ? ~std::uint64_t{0} : nodes_[best].bytes;
  std::uint32_t last = best == kNil ? kBins - 1 : bin_of(units(least));
  // The first bin may hold blocks that are too small; a later one only badly placed ones.
  for (; (bin = owner.bins.at_or_after(bin)) <= last; ++bin) {
    std::uint32_t left = probes;
    for (NodeId id = owner.heads[bin]; id != kNil && left > 0; id = nodes_[id].next, --left) {
      const Node& node = nodes_[id];
      if (node.bytes >= least || !fits(node, bytes, alignment) || !accept(node)) continue;
      best = id;
      least = node.bytes;
      last = bin;
      if (least == bytes || bin < kExactBins) return id;
    }
  }
  return best;
}

}  // namespace miniinfer::pool
