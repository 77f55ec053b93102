#include "plugins/fake/scheduler.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/fake/fake_device.hpp"

namespace miniinfer::fake {
namespace {

// Three queues with five tasks each; what runs writes down its queue.
struct Fixture {
  explicit Fixture(std::uint64_t seed) : scheduler(seed) {
    for (int q = 0; q < 3; ++q) queues.push_back(scheduler.make_queue());
    for (int i = 0; i < 5; ++i) {
      for (int q = 0; q < 3; ++q) {
        scheduler.put(*queues[q], "work", [this, q] { order += static_cast<char>('a' + q); }, false,
                      {});
      }
    }
  }
  ~Fixture() {
    for (const auto& queue : queues) scheduler.close(queue, false);
  }

  Scheduler scheduler;
  std::vector<std::shared_ptr<Queue>> queues;
  std::string order;
};

std::uint64_t count(const std::string& text, char letter) {
  return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), letter));
}

}  // namespace

TEST_CASE("without a seed nothing runs but what somebody waits for") {
  Fixture f(0);
  f.scheduler.finish(f.scheduler.end_of(f.queues[1]));
  CHECK_EQ(f.order, "bbbbb");
}

TEST_CASE("with a seed the others go on while somebody waits, and the seed repeats it") {
  std::vector<std::string> orders;
  for (const std::uint64_t seed : {1u, 2u, 1u}) {
    Fixture f(seed);
    f.scheduler.finish(f.scheduler.end_of(f.queues[1]));
    CHECK_EQ(count(f.order, 'b'), 5u);
    CHECK_GT(f.order.size(), 5u);
    orders.push_back(f.order);
  }
  CHECK_EQ(orders[0], orders[2]);
  CHECK_NE(orders[0], orders[1]);
}

TEST_CASE("advance runs so many tasks and stops where nothing is left") {
  for (const std::uint64_t seed : {0u, 3u}) {
    Fixture f(seed);
    CHECK_EQ(f.scheduler.advance(4), 4u);
    CHECK_EQ(f.order.size(), 4u);
    CHECK_EQ(f.scheduler.advance(100), 11u);
    CHECK_EQ(f.scheduler.advance(1), 0u);
  }
}

TEST_CASE("a queue that waits does not go on before its turn, whatever the seed") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Fixture f(seed);
    f.scheduler.put_wait(*f.queues[2], f.scheduler.end_of(f.queues[0]));
    f.scheduler.put(*f.queues[2], "work", [&] { f.order += '!'; }, false, {});
    while (f.scheduler.advance(1) != 0) {
    }
    CHECK_EQ(count(f.order.substr(0, f.order.find('!')), 'a'), 5u);
  }
}

TEST_CASE("who polls gets there with a seed, too") {
  Fixture f(9);
  const Mark mark = f.scheduler.end_of(f.queues[0]);
  int asked = 1;
  while (!f.scheduler.ask(mark)) ++asked;
  CHECK_GT(asked, 5);
  CHECK_EQ(count(f.order, 'a'), 5u);
}

TEST_CASE("a queue that takes over a slot owes nothing to the one before") {
  Scheduler scheduler(0);
  const Access place{{1 << 20, 0}, 8, true};
  const auto use = [&](Queue& queue) {
    return scheduler.put(queue, "work", [] {}, false, {place}).size();
  };
  std::shared_ptr<Queue> first = scheduler.make_queue();
  CHECK_EQ(use(*first), 0u);
  scheduler.close(first, false);
  const std::shared_ptr<Queue> second = scheduler.make_queue();
  CHECK_EQ(second->slot, first->slot);
  const std::shared_ptr<Queue> third = scheduler.make_queue();
  CHECK_EQ(use(*third), 0u);  // the first one was waited for
  CHECK_EQ(use(*second), 1u);
  scheduler.close(second, false);
  scheduler.close(third, false);
}

TEST_CASE("events are recorded and waited for while another thread puts work there") {
  test::FakeDevice fake;
  miniinfer_stream* a = fake.make_stream();
  miniinfer_stream* b = fake.make_stream();
  const miniinfer_mem mem = fake.alloc(64);
  std::thread other([&] {
    miniinfer_event* event = fake.make_event();
    for (int i = 0; i < 500; ++i) {
      CHECK_EQ(fake.stream->event_record(event, a), MINIINFER_OK);
      CHECK_EQ(fake.stream->event_wait(event, b), MINIINFER_OK);
    }
    fake.stream->event_destroy(event);
  });
  for (int i = 0; i < 500; ++i) CHECK_EQ(fake.stream->fill(a, mem, 64, 1, 1), MINIINFER_OK);
  other.join();
  CHECK_EQ(fake.stream->sync(b), MINIINFER_OK);
  CHECK_EQ(fake.stream->sync(a), MINIINFER_OK);
  fake.free(mem, 64);
  fake.stream->destroy(a);
  fake.stream->destroy(b);
  CHECK_EQ(fake.ledger().violations, 0u);
}

}  // namespace miniinfer::fake
