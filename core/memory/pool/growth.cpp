// How the pool gets memory from the driver, moves it and gives it back. The driver is called
// without the pool's lock; what is under way is Moving meanwhile.

#include <algorithm>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"
#include "core/memory/pool/pool.hpp"
#include "core/memory/request.hpp"

namespace miniinfer::pool {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
// Mapping costs by the piece, and only whole pieces can be moved.
constexpr std::uint64_t kLargestPiece = 32 * kMiB;
constexpr std::uint64_t kPiecesPerPool = 256;
constexpr std::uint64_t kPiecesPerBlock = 32;
// Segments, where nothing can be mapped.
constexpr std::uint64_t kSmallestSegment = 2 * kMiB;
constexpr std::uint64_t kLargestSegment = 256 * kMiB;
constexpr std::uint64_t kSegmentsPerPool = 8;
// Addresses for each lifetime, in multiples of the memory there is: moved memory leaves holes.
constexpr std::uint64_t kAddressesPerByte = 2;
constexpr std::uint64_t kAddressesWhereUnknown = std::uint64_t{64} << 30;

Status no_nodes() { return {Code::OutOfMemory, "no host memory to keep books of so many blocks"}; }

}  // namespace

Status Pool::take_budget(std::uint64_t bytes) noexcept {
  const Budget* const refuses = budget_->take(bytes);
  if (refuses == nullptr) return {};
  return refusal(*refuses, bytes, device_);
}

Result<NodeId> Pool::grow(const Wanted& wanted, bool sparing) noexcept {
  Section& section = *wanted.section;
  if (granule_ != 0 && section.range == nullptr && !section.segments_only) open_range(section);
  if (section.range != nullptr) {
    Result<NodeId> grown = grow_range(wanted, sparing);
    if (grown.status().code() != Code::NotFound) return grown;  // there are addresses for it
  }
  Result<NodeId> grown = grow_segments(wanted);
  if (!sparing && !grown && release_free(0) > 0) grown = grow_segments(wanted);
  return grown;
}

void Pool::open_range(Section& section) noexcept {
  const std::uint64_t total = upstream_->info().total_bytes;
  std::uint64_t bytes = total == 0 ? kAddressesWhereUnknown : total * kAddressesPerByte;
  bytes = align_up(bytes, granule_);
  driver_calls_.fetch_add(1, std::memory_order_relaxed);
  const Result<Block> addresses = upstream_->reserve_addresses(bytes);
  section.segments_only = !addresses;
  if (!addresses) return;
  Range range;
  range.handle = addresses->handle;
  range.host = addresses->host;
  range.base = base_of(*addresses);
  range.bytes = bytes;
  range.section = static_cast<std::uint32_t>(&section - sections_.data());
  {
    const std::lock_guard lock(lock_);
    section.range = section.map.add_range(range, State::Hole);
  }
  if (section.range != nullptr) return;
  section.segments_only = true;
  upstream_->release_addresses(*addresses);
}

std::vector<Pool::Move> Pool::choose_moves(std::uint64_t bytes, bool at_most) noexcept {
  std::vector<Move> moves;
  for (Section& from : sections_) {
    if (from.range == nullptr) continue;
    from.map.for_each_unowned([&](NodeId id, const Node& node) {
      if (bytes == 0 || node.bytes < granule_ || moves.size() == kMostMoves) return false;
      if (node.range != from.range || !nodes_.reserve(4)) return true;
      // Pieces that lie in the block side by side, from its end.
      const std::uint64_t end = node.offset + node.bytes;
      Move move;
      auto piece = from.pieces.lower_bound(end);
      while (piece != from.pieces.begin() && bytes != 0) {
        --piece;
        const std::uint64_t begins = piece->first, ends = begins + piece->second.bytes;
        if (begins < node.offset) break;
        if (ends > end || (at_most && piece->second.bytes > bytes)) {
          if (move.pieces.empty()) continue;
          break;
        }
        move.pieces.push_back(*piece);
        bytes -= std::min(bytes, piece->second.bytes);
      }
      if (move.pieces.empty()) return true;
      std::reverse(move.pieces.begin(), move.pieces.end());
      const auto& [last, last_piece] = move.pieces.back();
      move.section = &from;
      move.node = from.map.detach(id, move.pieces.front().first, last + last_piece.bytes);
      moving_ += move.bytes();
      moves.push_back(std::move(move));
      return true;
    });
  }
  return moves;
}

void Pool::take_beside(Growth& growth, const Place& place) noexcept {
  BlockMap& map = growth.section.map;
  const Node& hole = nodes_[place.hole];
  const std::uint64_t hole_end = hole.offset + hole.bytes;
  if (place.begin < hole.offset) {
    growth.beside[0] = map.detach(hole.before, place.begin, hole.offset);
  }
  if (place.end > hole_end) growth.beside[1] = map.detach(hole.after, hole_end, place.end);
  for (const NodeId id : growth.beside) moving_ += id == kNil ? 0 : nodes_[id].bytes;
}

Result<NodeId> Pool::grow_range(const Wanted& wanted, bool sparing) noexcept {
  Growth growth(*wanted.section);
  std::uint64_t missing = 0, piece_bytes = granule_;
  {
    const std::lock_guard lock(lock_);
    if (!nodes_.reserve(kNodesToMove)) return no_nodes();
    const Place place = growth.section.map.find_place(*growth.section.range, wanted.bytes,
                                                      wanted.alignment, granule_, wanted.slot);
    if (place.hole == kNil) return Status(Code::NotFound, "no addresses");
    missing = place.missing_end - place.missing_begin;
    has_moved_ |= reserved_ + missing > spare_target(wanted.bytes);
    growth.place = place;
    take_beside(growth, place);
    growth.node = growth.section.map.detach(place.hole, place.missing_begin, place.missing_end);
    growth.begin = growth.end = place.missing_begin;
    if (!sparing || reserved_ + missing > spare_target(wanted.bytes)) {
      growth.moves = choose_moves(missing, /*at_most=*/true);
    }
    while (piece_bytes * 2 <= kLargestPiece &&
           (piece_bytes * 2 <= reserved_ / kPiecesPerPool ||
            piece_bytes * 2 <= wanted.bytes / kPiecesPerBlock)) {
      piece_bytes *= 2;
    }
    // As long as nothing had to be moved, and may not have to be, one piece is the cheapest.
    if (!has_moved_ && missing >= kLargestPiece) piece_bytes = missing;
  }
  std::uint64_t fresh = missing;
  for (const Move& move : growth.moves) fresh -= move.bytes();
  Status status = take_budget(fresh);
  if (!status.ok() && !sparing && release_free(0) > 0) status = take_budget(fresh);
  if (status.ok()) {
    status = map_moved(growth);
    for (std::uint64_t left = fresh; left != 0 && status.ok();) {
      const std::uint64_t bytes = std::min(left, piece_bytes);
      status = map_new(growth, bytes);
      if (status.code() == Code::OutOfMemory && !sparing && release_free(0) > 0) {
        status = map_new(growth, bytes);
      }
      left -= bytes;
    }
    if (growth.end > growth.begin) {
      const Status access = upstream_->set_access(addresses(*growth.section.range), growth.begin,
                                                  growth.end - growth.begin);
      driver_calls_.fetch_add(1, std::memory_order_relaxed);
      growth.has_access = access.ok();
      if (!access.ok()) {
        unmap_all(growth);
        status = access;
      }
    }
    budget_->give(fresh - growth.made);
  }
  const NodeId id = finish(growth, wanted, status.ok());
  if (!status.ok()) return status;
  return id;
}

std::uint64_t Pool::base_of(const Block& block) const noexcept {
  if (block.host != nullptr) return reinterpret_cast<std::uintptr_t>(block.host);
  return block.offset + (upstream_->properties().flat_address ? block.handle : 0);
}

Block Pool::addresses(const Range& range) noexcept {
  return {range.handle, 0, range.bytes, range.host};
}

Status Pool::map_moved(Growth& growth) noexcept {
  for (Move& move : growth.moves) {
    for (const auto& [offset, piece] : move.pieces) {
      driver_calls_.fetch_add(2, std::memory_order_relaxed);
      Status status = upstream_->unmap(addresses(*move.section->range), offset, piece.bytes);
      if (!status.ok()) return status;
      ++move.unmapped;
      status =
          upstream_->map(addresses(*growth.section.range), growth.end, piece.physical, piece.bytes);
      if (!status.ok()) {
        destroy(piece);
        growth.lost += piece.bytes;
        return status;
      }
      growth.pieces.emplace_back(growth.end, piece);
      growth.end += piece.bytes;
      moves_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  return {};
}

Status Pool::map_new(Growth& growth, std::uint64_t bytes) noexcept {
  driver_calls_.fetch_add(2, std::memory_order_relaxed);
  const Result<MemoryUpstream::Physical> physical = upstream_->create_physical(bytes);
  if (!physical) return physical.status();
  count_segment();
  const Piece piece{bytes, *physical};
  Status status = upstream_->map(addresses(*growth.section.range), growth.end, *physical, bytes);
  if (!status.ok()) {
    destroy(piece);
    return status;
  }
  growth.pieces.emplace_back(growth.end, piece);
  growth.end += bytes;
  growth.made += bytes;
  return {};
}

// A piece that cannot be unmapped stays where it is, of no use, until the pool ends.
void Pool::unmap_all(Growth& growth) noexcept {
  while (!growth.pieces.empty()) {
    const auto [offset, piece] = growth.pieces.back();
    driver_calls_.fetch_add(1, std::memory_order_relaxed);
    if (!upstream_->unmap(addresses(*growth.section.range), offset, piece.bytes).ok()) return;
    destroy(piece);
    if (growth.made != 0) {
      growth.made -= piece.bytes;
    } else {
      growth.lost += piece.bytes;
    }
    growth.end = offset;
    growth.pieces.pop_back();
  }
}

void Pool::destroy(const Piece& piece) noexcept {
  driver_calls_.fetch_add(1, std::memory_order_relaxed);
  device_frees_.fetch_add(1, std::memory_order_relaxed);
  segments_.fetch_sub(1, std::memory_order_relaxed);
  upstream_->destroy_physical(piece.physical);
}

void Pool::count_segment() noexcept {
  device_allocs_.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t now = segments_.fetch_add(1, std::memory_order_relaxed) + 1;
  peak_segments_.store(std::max(peak_segments_.load(std::memory_order_relaxed), now),
                       std::memory_order_relaxed);
}

NodeId Pool::finish(Growth& growth, const Wanted& wanted, bool whole) noexcept {
  budget_->give(growth.lost);
  const std::lock_guard lock(lock_);
  for (const Move& move : growth.moves) settle_move(move);
  add_reserved(growth.made);
  remove_reserved(growth.lost);
  BlockMap& map = growth.section.map;
  growth.section.pieces.insert(growth.pieces.begin(), growth.pieces.end());
  if (whole) return assemble(growth, wanted);
  if (growth.end == growth.begin) {
    map.make_hole(growth.node);
  } else {
    map.shorten(growth.node, growth.end);
    if (growth.has_access) {
      map.give(growth.node, StreamOrder::kNobody, 0);
    } else {
      moving_ += growth.end - growth.begin;
    }
  }
  for (const NodeId id : growth.beside) {
    if (id == kNil) continue;
    moving_ -= nodes_[id].bytes;
    give(id, nodes_[id].owner, nodes_[id].use);
  }
  return kNil;
}

// The block, of all that was gathered for it; what is over is free.
NodeId Pool::assemble(Growth& growth, const Wanted& wanted) noexcept {
  BlockMap& map = growth.section.map;
  for (const NodeId id : growth.beside) moving_ -= id == kNil ? 0 : nodes_[id].bytes;
  NodeId id = growth.node;
  if (growth.beside[1] != kNil) map.join(id);
  if (growth.beside[0] != kNil) map.join(id = growth.beside[0]);
  NodeId head = kNil, tail = kNil;
  if (nodes_[id].offset < growth.place.begin) {
    head = id;
    id = map.divide(id, growth.place.begin);
  }
  if (nodes_[id].offset + nodes_[id].bytes > growth.place.end) {
    tail = map.divide(id, growth.place.end);
  }
  map.hand_over(id);
  for (const NodeId rest : {head, tail}) {
    // Nobody has used it, but the next block of this stream finds it, whoever is beside it.
    if (rest != kNil) map.give(rest, wanted.slot, 0);
  }
  prepare(id, wanted);
  return id;
}

void Pool::settle_move(const Move& move) noexcept {
  BlockMap& map = move.section->map;
  moving_ -= move.bytes();
  for (std::size_t i = 0; i < move.unmapped; ++i) move.section->pieces.erase(move.pieces[i].first);
  if (move.unmapped == move.pieces.size()) return map.make_hole(move.node);
  NodeId mapped = move.node;
  if (move.unmapped != 0) {
    mapped = map.divide(move.node, move.pieces[move.unmapped].first);
    map.make_hole(move.node);
  }
  map.give(mapped, StreamOrder::kNobody, 0);
}

void Pool::add_reserved(std::uint64_t bytes) noexcept {
  reserved_ += bytes;
  reserved_total_ += bytes;
  peak_reserved_ = std::max(peak_reserved_, reserved_);
}

void Pool::remove_reserved(std::uint64_t bytes) noexcept {
  reserved_ -= bytes;
  released_total_ += bytes;
}

Result<NodeId> Pool::grow_segments(const Wanted& wanted) noexcept {
  std::uint64_t usual = kSmallestSegment;
  {
    const std::lock_guard lock(lock_);
    if (!nodes_.reserve(kNodesToMove)) return no_nodes();
    while (usual * 2 <= kLargestSegment && usual * 2 <= reserved_ / kSegmentsPerPool) usual *= 2;
  }
  const std::uint64_t most = upstream_->properties().max_bytes;
  std::uint64_t bytes = std::max(usual, wanted.bytes);
  // On a small device, no more than a part of what there is.
  if (most != 0)
    bytes = std::max(std::min(bytes, most / kSegmentsPerPool & ~(unit_ - 1)), wanted.bytes);
  Status status;
  // What is usual, or else what is needed.
  for (;;) {
    status = take_budget(bytes);
    if (status.ok()) {
      driver_calls_.fetch_add(1, std::memory_order_relaxed);
      Result<Block> block = upstream_->allocate_raw(bytes, wanted.alignment, Stream{});
      if (block) return add_segment(wanted, *block);
      budget_->give(bytes);
      status = block.status();
    }
    if (bytes == wanted.bytes) return status;
    bytes = wanted.bytes;
  }
}

Result<NodeId> Pool::add_segment(const Wanted& wanted, const Block& block) noexcept {
  count_segment();
  Range range;
  range.handle = block.handle;
  range.host = block.host;
  range.base = base_of(block);
  range.origin = block.offset;
  range.bytes = block.bytes;
  range.token = block.token;
  range.section = static_cast<std::uint32_t>(wanted.section - sections_.data());
  hide(range, 0, range.bytes);
  {
    const std::lock_guard lock(lock_);
    if (wanted.section->map.add_range(range, State::Free) != nullptr) {
      add_reserved(block.bytes);
      const NodeId id = take(wanted, BlockMap::kAll);
      if (id != kNil) return id;
      return no_nodes();
    }
  }
  give_segment(range);
  budget_->give(range.bytes);
  return no_nodes();
}

std::uint64_t Pool::release_free(std::uint64_t keep_bytes) noexcept {
  std::vector<Move> moves;
  std::vector<Range> segments;
  {
    const std::lock_guard lock(lock_);
    if (reserved_ <= keep_bytes) return 0;
    std::uint64_t left = reserved_ - keep_bytes;
    moves = choose_moves(left, /*at_most=*/false);
    for (const Move& move : moves) left -= std::min(left, move.bytes());
    for (Section& section : sections_) {
      const std::size_t before = segments.size();
      for (const Range& range : section.map.ranges()) {
        if (left == 0) break;
        if (&range == section.range || !section.map.is_unused(range)) continue;
        segments.push_back(range);
        left -= std::min(left, range.bytes);
        moving_ += range.bytes;
      }
      for (std::size_t i = before; i < segments.size(); ++i) {
        section.map.remove_range(segments[i].first);
      }
    }
  }
  std::uint64_t released = 0;
  for (Move& move : moves) {
    for (const auto& [offset, piece] : move.pieces) {
      driver_calls_.fetch_add(1, std::memory_order_relaxed);
      if (!upstream_->unmap(addresses(*move.section->range), offset, piece.bytes).ok()) break;
      destroy(piece);
      ++move.unmapped;
      released += piece.bytes;
    }
  }
  std::uint64_t segment_bytes = 0;
  for (const Range& range : segments) {
    give_segment(range);
    segment_bytes += range.bytes;
  }
  released += segment_bytes;
  budget_->give(released);
  const std::lock_guard lock(lock_);
  for (const Move& move : moves) settle_move(move);
  moving_ -= segment_bytes;
  remove_reserved(released);
  return released;
}

void Pool::give_segment(const Range& range) noexcept {
  driver_calls_.fetch_add(1, std::memory_order_relaxed);
  device_frees_.fetch_add(1, std::memory_order_relaxed);
  segments_.fetch_sub(1, std::memory_order_relaxed);
  show(range, 0, range.bytes);
  upstream_->deallocate_raw({range.handle, range.origin, range.bytes, range.host, range.token},
                            Stream{});
}

void Pool::release_section(Section& section) noexcept {
  std::uint64_t bytes = 0;
  for (const Range& range : section.map.ranges()) {
    if (&range == section.range) continue;
    give_segment(range);
    bytes += range.bytes;
  }
  for (const auto& [offset, piece] : section.pieces) {
    if (upstream_->unmap(addresses(*section.range), offset, piece.bytes).ok()) destroy(piece);
    bytes += piece.bytes;
  }
  if (section.range == nullptr) return budget_->give(bytes);
  show(*section.range, 0, section.range->bytes);
  upstream_->release_addresses(addresses(*section.range));
  budget_->give(bytes);
}

std::uint64_t Pool::trim(std::uint64_t keep_bytes) noexcept {
  const std::lock_guard slow(slow_);
  poll();
  empty_caches();
  return release_free(keep_bytes);
}

void Pool::set_limit(std::uint64_t bytes) noexcept {
  budget_->set_limit(bytes);
  if (budget_->used() > bytes) trim(bytes);
}

}  // namespace miniinfer::pool
