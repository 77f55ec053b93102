// The books of blocks, against an array that says of every unit whose it is.

#include "core/memory/pool/block_map.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace miniinfer::pool {
namespace {

constexpr std::uint64_t kUnit = 64;
constexpr std::uint64_t kGranule = 16 * kUnit;
constexpr std::uint16_t kOwners = 4;

// What a unit is, and since which of its owner's epochs.
struct Unit {
  enum { Hole, Free, Live, Moving } is = Hole;
  std::uint16_t owner = 0;
  std::uint64_t epoch = 0;
};

struct Model {
  std::vector<Unit> units;
  std::uint64_t base;

  // Whether [at, at + count) could be given to `owner`: in neighbours that can be merged.
  bool serves(std::size_t at, std::size_t count, std::uint16_t owner) const {
    if (at + count > units.size()) return false;
    for (std::size_t i = at; i < at + count; ++i) {
      if (units[i].is != Unit::Free) return false;
      if (units[i].owner != 0 && units[i].owner != owner) return false;
    }
    return true;
  }
};

struct Books {
  NodeTable nodes;
  std::uint64_t total_free = 0;
  BlockMap map{nodes, kUnit, total_free};
  Range* range = nullptr;

  Books(std::uint64_t units, std::uint64_t base, State state) {
    for (std::uint16_t owner = 1; owner < kOwners; ++owner) map.add_owner(owner);
    Range made;
    made.base = base;
    made.bytes = units * kUnit;
    range = map.add_range(made, state);
  }
};

// Nodes and units tell the same.
std::string compare(const Books& books, const Model& model) {
  std::string wrong = books.map.check();
  std::uint64_t free = 0;
  books.map.for_each(*books.range, [&](NodeId id, const Node& node) {
    for (std::uint64_t at = node.offset; at < node.offset + node.bytes; at += kUnit) {
      const Unit& unit = model.units[at / kUnit];
      const bool same = node.state() == State::Hole     ? unit.is == Unit::Hole
                        : node.state() == State::Live   ? unit.is == Unit::Live
                        : node.state() == State::Moving ? unit.is == Unit::Moving
                                                        : unit.is == Unit::Free;
      if (!same) wrong = "node " + std::to_string(id) + " has another state";
      if (node.state() != State::Free) continue;
      free += kUnit;
      // A block is as dirty as the dirtiest part of it, or dirtier.
      const bool clean = unit.owner == 0;
      if (!clean && (node.owner != unit.owner || node.use < unit.epoch)) {
        wrong = "node " + std::to_string(id) + " has forgotten who used it";
      }
    }
  });
  if (free != books.map.free_bytes() || free != books.total_free) wrong = "free bytes";
  return wrong;
}

}  // namespace

TEST_CASE("random operations leave the books as an array of units has them") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const auto below = [&](std::uint64_t bound) { return random() % bound; };
    constexpr std::size_t kUnits = 1024;
    const std::uint64_t base = below(64) * kUnit;
    Books books(kUnits, base, seed % 2 == 0 ? State::Hole : State::Free);
    Model model{std::vector<Unit>(kUnits), base};
    for (Unit& unit : model.units) unit.is = seed % 2 == 0 ? Unit::Hole : Unit::Free;
    std::vector<NodeId> live;
    std::array<std::uint64_t, kOwners> epochs{0, 1, 1, 1};
    const auto paint = [&](NodeId id, Unit unit) {
      const Node& node = books.nodes[id];
      for (std::uint64_t i = 0; i < node.bytes / kUnit; ++i) {
        model.units[node.offset / kUnit + i] = unit;
      }
    };
    // Where the books hold several owners' units in one block, all are the dirtiest one's.
    const auto repaint_free = [&] {
      books.map.for_each(*books.range, [&](NodeId id, const Node& node) {
        if (node.state() == State::Free) paint(id, {Unit::Free, node.owner, node.use});
      });
    };
    for (int step = 0; step < 4000; ++step) {
      const std::uint64_t what = below(100);
      const auto owner = static_cast<std::uint16_t>(below(kOwners));
      const std::uint64_t count = 1 + below(below(4) == 0 ? 100 : 8);
      const std::uint64_t alignment = below(3) == 0 ? kUnit << below(6) : kUnit;
      if (what < 40) {
        const NodeId id = books.map.take(count * kUnit, alignment, owner, BlockMap::kAll);
        bool could = false;
        for (std::size_t at = 0; at < kUnits && !could; ++at) {
          could = (base + at * kUnit) % alignment == 0 && model.serves(at, count, owner);
        }
        // Only blocks of one owner and nobody that lie side by side unmerged may hide a place.
        if (id == kNil) {
          bool in_one = false;
          books.map.for_each(*books.range, [&](NodeId, const Node& node) {
            if (node.state() != State::Free || (node.owner != 0 && node.owner != owner)) return;
            const std::uint64_t from =
                (base + node.offset + alignment - 1) / alignment * alignment - base;
            in_one |= from + count * kUnit <= node.offset + node.bytes;
          });
          REQUIRE(!in_one);
        } else {
          REQUIRE(could);
          const Node& node = books.nodes[id];
          REQUIRE(node.bytes == count * kUnit);
          REQUIRE((base + node.offset) % alignment == 0);
          REQUIRE(model.serves(node.offset / kUnit, count, owner));
          paint(id, {Unit::Live, 0, 0});
          live.push_back(id);
        }
      } else if (what < 75 && !live.empty()) {
        const std::size_t which = below(live.size());
        const NodeId id = live[which];
        paint(id, {Unit::Free, owner, owner == 0 ? 0 : epochs[owner]});
        books.map.give(id, owner, epochs[owner]);
        live.erase(live.begin() + static_cast<std::ptrdiff_t>(which));
      } else if (what < 80) {
        ++epochs[1 + below(kOwners - 1)];
      } else if (what < 85 && owner != 0) {
        const std::uint64_t epoch = below(epochs[owner] + 1);
        books.map.settle(owner, epoch);
        for (Unit& unit : model.units) {
          if (unit.is == Unit::Free && unit.owner == owner && unit.epoch <= epoch) {
            unit.owner = 0;
            unit.epoch = 0;
          }
        }
      } else if (what < 90) {
        // What find_place says, mapped wholly, in part, or not at all.
        const Place place =
            books.map.find_place(*books.range, count * kUnit, alignment, kGranule, owner);
        if (place.hole == kNil) continue;
        REQUIRE(place.missing_begin % kGranule == 0);
        for (std::uint64_t at = place.begin; at < place.end; at += kUnit) {
          const Unit& unit = model.units[at / kUnit];
          REQUIRE((unit.is == Unit::Hole || unit.is == Unit::Free));
          const bool missing = at >= place.missing_begin && at < place.missing_end;
          REQUIRE(missing == (unit.is == Unit::Hole));
        }
        const NodeId id = books.map.detach(place.hole, place.missing_begin, place.missing_end);
        paint(id, {Unit::Moving, 0, 0});
        REQUIRE(compare(books, model) == "");
        const std::uint64_t granules = (place.missing_end - place.missing_begin) / kGranule;
        const std::uint64_t mapped = below(granules + 1);
        if (mapped == 0) {
          paint(id, {Unit::Hole, 0, 0});
          books.map.make_hole(id);
        } else {
          paint(id, {Unit::Hole, 0, 0});
          books.map.shorten(id, place.missing_begin + mapped * kGranule);
          paint(id, {Unit::Free, owner, 0});
          books.map.give(id, owner, 0);
        }
      } else if (what < 95) {
        // Granules of nobody's lose their memory, the first of them or all.
        books.map.for_each_unowned([&](NodeId id, const Node& node) {
          const std::uint64_t begin = (node.offset + kGranule - 1) / kGranule * kGranule;
          const std::uint64_t end = (node.offset + node.bytes) / kGranule * kGranule;
          if (begin + kGranule >= end) return true;
          const NodeId gone = books.map.detach(id, begin, end);
          paint(gone, {Unit::Moving, 0, 0});
          if (below(2) == 0) {
            const NodeId rest = books.map.divide(gone, begin + kGranule);
            paint(rest, {Unit::Free, 0, 0});
            books.map.give(rest, 0, 0);
          }
          paint(gone, {Unit::Hole, 0, 0});
          books.map.make_hole(gone);
          return false;
        });
      } else {
        // A free block of anyone's leaves the map for a while, or a part of it.
        const NodeId id =
            books.map.find_foreign(count * kUnit, kUnit, 0, [](const Node&) { return true; });
        if (id == kNil) continue;
        const Node whole{.offset = books.nodes[id].offset,
                         .bytes = books.nodes[id].bytes,
                         .use = books.nodes[id].use,
                         .owner = books.nodes[id].owner};
        const std::uint64_t begin = whole.offset + below(whole.bytes / kUnit - count + 1) * kUnit;
        const NodeId part = books.map.detach(id, begin, begin + count * kUnit);
        paint(part, {Unit::Moving, 0, 0});
        REQUIRE(compare(books, model) == "");
        paint(part, {Unit::Free, whole.owner, whole.use});
        books.map.give(part, whole.owner, whole.use);
      }
      REQUIRE(compare(books, model) == "");
      repaint_free();
    }
    for (const NodeId id : live) books.map.give(id, 0, 0);
    for (std::uint16_t owner = 1; owner < kOwners; ++owner) books.map.settle(owner, ~0ull);
    REQUIRE(books.map.check() == "");
    CHECK(books.map.is_unused(*books.range));
    books.map.remove_range(books.range->first);
    CHECK(books.nodes.count() == 0);
    CHECK(books.total_free == 0);
  }
}

TEST_CASE("a block is cut from the smallest that fits, and whole again when it comes back") {
  Books books(1024, 0, State::Free);
  const NodeId a = books.map.take(8 * kUnit, kUnit, 0);
  const NodeId wall = books.map.take(kUnit, kUnit, 0);
  books.map.give(a, 0, 0);
  const NodeId b = books.map.take(6 * kUnit, kUnit, 0);
  CHECK(books.nodes[b].offset == 0);
  books.map.give(b, 0, 0);
  books.map.give(wall, 0, 0);
  CHECK(books.map.largest_free(0) == 1024 * kUnit);
}

TEST_CASE("what one stream used is not given to another before it is settled") {
  Books books(16, 0, State::Free);
  const NodeId all = books.map.take(16 * kUnit, kUnit, 1);
  books.map.give(all, 1, 7);
  CHECK(books.map.take(kUnit, kUnit, 2) == kNil);
  CHECK(books.map.take(kUnit, kUnit, 0) == kNil);
  CHECK(!books.map.settle(1, 6));
  CHECK(books.map.take(kUnit, kUnit, 2) == kNil);
  CHECK(books.map.settle(1, 7));
  CHECK(books.map.take(kUnit, kUnit, 2) != kNil);
}

TEST_CASE("with few probes a fit may be missed, with all it is found") {
  Books books(1024, 0, State::Free);
  // Blocks of one bin, the only one that fits put there first.
  std::vector<NodeId> blocks, walls;
  for (int i = 0; i < 8; ++i) {
    blocks.push_back(books.map.take((i == 0 ? 35 : 32) * kUnit, kUnit, 0));
    walls.push_back(books.map.take(kUnit, kUnit, 0));
  }
  while (books.map.take(kUnit, kUnit, 0) != kNil) {
  }
  for (const NodeId id : blocks) books.map.give(id, 0, 0);
  CHECK(books.map.take(34 * kUnit, kUnit, 0) == kNil);
  CHECK(books.map.take(34 * kUnit, kUnit, 0, BlockMap::kAll) != kNil);
}

}  // namespace miniinfer::pool
