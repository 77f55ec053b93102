#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "plugins/fake/clock.hpp"
#include "plugins/fake/race_oracle.hpp"

namespace miniinfer::fake {

struct Queue;
class Scheduler;

// A place in a queue's work: what a stream's end or an event is.
struct Mark {
  std::shared_ptr<Queue> queue;  // null: no work at all, which is done
  std::uint64_t position = 0;
  Clock clock;  // everything that is done when this place is reached
};

// The work of one stream. Guarded by the schedulers' mutex.
struct Queue {
  struct Task {
    std::function<void()> work;         // may be none
    bool always;                        // runs even after a failure: bookkeeping
    std::shared_ptr<Queue> wait_queue;  // comes after a place in another queue; null: after none
    std::uint64_t wait_position = 0;
  };

  const Scheduler* scheduler;
  std::uint32_t number;  // from 1, in the order streams are made
  std::uint32_t slot;    // in clocks; taken over from a queue that is no more
  std::uint64_t first;   // where that one ended, and positions here begin
  std::deque<Task> tasks;
  std::uint64_t put = 0;   // the position of the last task put here
  std::uint64_t done = 0;  // of the last one finished, in order
  Clock clock;             // at the end
  std::exception_ptr failure;
};

// Work that was put on streams and not asked for yet. Nothing runs before somebody waits, so work
// whose order nobody asked for runs in a surprising one. A question that is answered "not yet"
// does one task of what it asks for, so that who polls gets there.
//
// With a seed other than 0, and in `advance`, a number drawn from it decides which queue moves: all
// streams go on while somebody waits for one.
//
// Each device has one. Work may wait for that of another device, and the host is the same for all:
// they share a mutex, the slots of clocks and what the host has waited for. Work of another device
// runs only where something here comes after it. [any-thread]
class Scheduler {
 public:
  explicit Scheduler(std::uint64_t seed) : seeded_(seed != 0), random_(seed) {}

  std::shared_ptr<Queue> make_queue();
  // Puts work that uses memory at the end. Gives a sentence about each race.
  std::vector<std::string> put(Queue& queue, const char* name, std::function<void()> work,
                               bool always, const std::vector<Access>& accesses);
  // Puts work that comes after a mark and uses memory of two devices, or of one: `here` of this
  // one, `there` of the other scheduler's. Gives a sentence about a race with work on either.
  std::array<std::string, 2> put_copy(Queue& queue, std::function<void()> work, const Mark& after,
                                      const Access& here, Scheduler& other, const Access& there);
  void put_wait(Queue& queue, const Mark& mark);
  Mark end_of(const std::shared_ptr<Queue>& queue);
  // Memory is taken away by the host; gives a sentence where work may still use it.
  std::string take_away(miniinfer_mem mem, std::uint64_t bytes, const char* how);
  void forget(miniinfer_mem mem, std::uint64_t bytes);
  void note(miniinfer_mem mem, std::uint64_t bytes, const char* what, const Queue* queue);

  // Runs up to so many tasks, each of a queue that can go on. Gives how many there were.
  std::uint64_t advance(std::uint64_t tasks);
  // Runs what comes before a mark and throws what any of it failed with.
  void finish(const Mark& mark);
  void finish_all();
  bool ask(const Mark& mark);
  // As finish, up to the end and without throwing; `drop` leaves out everything but bookkeeping.
  // The queue is not used any more.
  void close(const std::shared_ptr<Queue>& queue, bool drop);

 private:
  static void add(Queue& queue, Queue::Task task);
  bool step();  // one task, of any queue or of what it waits for
  void run_until(Queue& queue, std::uint64_t position);
  static void run_one(Queue& queue);  // whose next task can run

  const bool seeded_;
  std::uint64_t random_;
  std::uint32_t queues_made_ = 0;
  std::vector<std::shared_ptr<Queue>> queues_;
  RaceOracle races_;
};

}  // namespace miniinfer::fake
