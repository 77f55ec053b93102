// The small parts of the pool.

#include <doctest/doctest.h>

#include <random>
#include <set>
#include <thread>
#include <vector>

#include "core/memory/budget.hpp"
#include "core/memory/pool/node_table.hpp"
#include "core/memory/pool/size_bins.hpp"
#include "core/memory/pool/spin_lock.hpp"
#include "core/memory/pool/stream_order.hpp"

namespace miniinfer::pool {
namespace {

Stream stream(std::uintptr_t number) { return {reinterpret_cast<void*>(number)}; }
MemoryUpstream::Event event(std::uintptr_t number) { return {reinterpret_cast<void*>(number)}; }

}  // namespace

TEST_CASE("bins are in order of size, and sizes of a bin differ by an eighth at most") {
  std::uint32_t last = 0;
  std::uint64_t first_of_bin = 1;
  for (std::uint64_t units = 1; units < 1 << 16; ++units) {
    const std::uint32_t bin = bin_of(units);
    CHECK((bin == last || bin == last + 1));
    if (bin != last) first_of_bin = units;
    CHECK((units - first_of_bin) * 8 <= first_of_bin);
    last = bin;
  }
  CHECK(bin_of((std::uint64_t{1} << 62) - 1) < kBins);
}

TEST_CASE("a set of bins finds what an ordinary set finds") {
  std::mt19937 random(3);
  BinSet bins;
  std::set<std::uint32_t> plain;
  for (int step = 0; step < 20'000; ++step) {
    const std::uint32_t bin = random() % kBins;
    if (random() % 2 == 0) {
      bins.add(bin);
      plain.insert(bin);
    } else {
      bins.remove(bin);
      plain.erase(bin);
    }
    const std::uint32_t from = random() % (kBins + 1);
    const auto found = plain.lower_bound(from);
    CHECK(bins.at_or_after(from) == (found == plain.end() ? kBins : *found));
    CHECK(bins.last() == (plain.empty() ? kBins : *plain.rbegin()));
    CHECK(bins.empty() == plain.empty());
    if (step % 1000 == 999) {
      for (const std::uint32_t one : plain) bins.remove(one);
      plain.clear();
    }
  }
}

TEST_CASE("a node that was given back has another word when it is used again") {
  NodeTable nodes;
  CHECK(nodes.find(0) == nullptr);
  REQUIRE(nodes.reserve(2));
  const NodeId first = nodes.add();
  const std::uint32_t word = nodes[first].enter(State::Live);
  CHECK(nodes[first].state() == State::Live);
  CHECK(nodes.find(first) == &nodes[first]);
  nodes.remove(first);
  const NodeId again = nodes.add();
  CHECK(again == first);
  CHECK(nodes[again].enter(State::Live) != word);
  CHECK(nodes.count() == 1);
  CHECK(nodes.find(again + 1) == nullptr);
}

TEST_CASE("the table says that it is full before it is") {
  NodeTable nodes;
  std::uint32_t added = 0;
  while (nodes.reserve(1, 100)) {
    static_cast<void>(nodes.add());
    ++added;
  }
  CHECK(nodes.reserve(100));
  CHECK(!nodes.reserve(101));
  CHECK(nodes.count() == added);
  nodes.remove(7);
  CHECK(nodes.reserve(1, 100));
}

TEST_CASE("an epoch ends with its event, and is done with it") {
  StreamOrder order;
  const std::uint16_t slot = order.add(stream(1));
  CHECK(order.find(stream(1)) == slot);
  CHECK(order.find(stream(2)) == StreamOrder::kUnknown);
  const std::uint64_t first = order.epoch(slot);
  CHECK(order.recorded(slot, event(10)) == first);
  CHECK(order.epoch(slot) == first + 1);
  CHECK(order.recorded(slot, event(11)) == first + 1);
  CHECK(order.oldest(slot)->epoch == first);
  CHECK(order.newest(slot)->epoch == first + 1);
  CHECK(order.finished(slot, first).size() == 1);
  CHECK(order.done(slot) == first);
  CHECK(order.synced(slot).size() == 1);
  CHECK(order.done(slot) == first + 2);
  CHECK(order.epoch(slot) == first + 3);
  CHECK(order.newest(slot) == nullptr);
}

TEST_CASE("an event that marks nothing is forgotten once") {
  StreamOrder order;
  const std::uint16_t slot = order.add(stream(1));
  const std::uint64_t epoch = order.recorded(slot, event(10));
  CHECK(order.forget(slot, epoch));
  CHECK(!order.forget(slot, epoch));
  order.recorded(slot, event(11));
  CHECK(!order.forget(slot, epoch));
}

TEST_CASE("a stream has seen of another what it waited for, or what is done") {
  StreamOrder order;
  const std::uint16_t a = order.add(stream(1)), b = order.add(stream(2));
  CHECK(order.seen(a, b) == 0);
  order.waits(a, b, 5);
  CHECK(order.seen(a, b) == 5);
  CHECK(order.seen(b, a) == 0);
  order.waits(a, b, 4);
  CHECK(order.seen(a, b) == 5);
  order.finished(b, 9);
  CHECK(order.seen(a, b) == 9);
}

TEST_CASE("a slot that is used again has nothing of the stream before but its time") {
  StreamOrder order;
  const std::uint16_t a = order.add(stream(1)), b = order.add(stream(2));
  order.waits(a, b, 1);
  order.recorded(a, event(1));
  order.set_captures(a, true);
  const std::uint64_t epoch = order.epoch(a);
  CHECK(order.remove(a).size() == 1);
  CHECK(!order.is_used(a));
  CHECK(order.find(stream(1)) == StreamOrder::kUnknown);
  const std::uint16_t again = order.add(stream(3));
  CHECK(again == a);
  CHECK(order.find(stream(1)) == StreamOrder::kUnknown);
  CHECK(order.seen(again, b) == 0);
  CHECK(!order.captures(again));
  CHECK(order.epoch(again) > epoch);
  CHECK(order.done(again) == epoch);
}

TEST_CASE("there are as many streams as there are slots, and each is found") {
  StreamOrder order;
  for (std::uintptr_t i = 1; i < StreamOrder::kMost; ++i) {
    REQUIRE(order.add(stream(i * 64)) == i);
  }
  CHECK(order.add(stream(7)) == StreamOrder::kUnknown);
  for (std::uintptr_t i = 1; i < StreamOrder::kMost; ++i) REQUIRE(order.find(stream(i * 64)) == i);
  order.remove(17);
  CHECK(order.add(stream(7)) == 17);
}

TEST_CASE("a budget is asked for all or nothing, up to its root") {
  const auto root = std::make_shared<Budget>("root", 100);
  const auto left = std::make_shared<Budget>("left", 80, root);
  Budget right("right", 80, root);
  CHECK(left->take(60) == nullptr);
  CHECK(right.take(81) == &right);
  CHECK(right.take(41) == root.get());
  CHECK(right.used() == 0);
  CHECK(right.take(40) == nullptr);
  CHECK(root->used() == 100);
  left->give(60);
  CHECK(root->used() == 40);
  root->set_limit(10);
  CHECK(left->take(1) == root.get());
  CHECK(left->take(0) == root.get());
  right.give(40);
  CHECK(left->take(10) == nullptr);
  CHECK(left->take(~std::uint64_t{0}) == left.get());
}

TEST_CASE("threads of one budget never have more than it allows, and lose nothing") {
  const auto root = std::make_shared<Budget>("root", 1000);
  std::vector<std::thread> threads;
  std::atomic<bool> over{false};
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      Budget own("own", 600, root);
      std::mt19937 random(static_cast<unsigned>(t));
      std::uint64_t held = 0;
      for (int i = 0; i < 20'000; ++i) {
        const std::uint64_t bytes = random() % 300;
        if (held >= bytes && random() % 2 == 0) {
          own.give(bytes);
          held -= bytes;
        } else if (own.take(bytes) == nullptr) {
          held += bytes;
        }
        if (root->used() > 1000 || own.used() != held) over = true;
      }
      own.give(held);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(!over);
  CHECK(root->used() == 0);
}

TEST_CASE("a lock lets one in at a time") {
  SpinLock lock;
  std::uint64_t plain = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) {
        lock.lock();
        ++plain;
        lock.unlock();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(plain == 60'000);
}

}  // namespace miniinfer::pool
