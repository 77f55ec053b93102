#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "plugins/fake/race_oracle.hpp"

namespace miniinfer::fake {

struct Queue;

// A place in a queue's work: what a stream's end or an event is.
struct Mark {
  std::shared_ptr<Queue> queue;  // null: no work at all, which is done
  std::uint64_t position = 0;
  Clock clock;  // everything that is done when this place is reached
};

// The work of one stream. Guarded by the scheduler's mutex.
struct Queue {
  struct Task {
    std::function<void()> work;
    bool always;  // runs even after a failure: bookkeeping
    Mark wait;    // of another queue: waits for it
  };

  std::uint32_t number;  // from 1, in the order streams are made
  std::deque<Task> tasks;
  std::uint64_t put = 0;   // tasks ever put here
  std::uint64_t done = 0;  // tasks finished, in order
  Clock clock;             // at the end
  std::exception_ptr failure;
};

// Work that was put on streams and not asked for yet. Nothing runs before somebody waits, so work
// whose order nobody asked for runs in a surprising one. A question that is answered "not yet"
// moves its queue on by one task, so that who polls gets there. [any-thread]
class Scheduler {
 public:
  std::shared_ptr<Queue> make_queue();
  // Puts work that uses memory at the end. Gives a sentence about each race.
  std::vector<std::string> put(Queue& queue, std::function<void()> work, bool always,
                               const std::vector<Access>& accesses);
  void put_wait(Queue& queue, Mark mark);
  Mark end_of(const std::shared_ptr<Queue>& queue);
  // A block is given back by the host; gives a sentence where work may still use it.
  std::string give_back(std::uint64_t handle);
  void forget(std::uint64_t handle);

  // Runs what comes before a mark and throws what any of it failed with.
  void finish(const Mark& mark);
  void finish_all();
  bool ask(const Mark& mark);
  // As finish, up to the end and without throwing; `drop` leaves out everything but bookkeeping.
  void close(Queue& queue, bool drop);

 private:
  void add(Queue& queue, Queue::Task task);
  void run_until(Queue& queue, std::uint64_t position);
  void run_one(Queue& queue);

  std::mutex mutex_;
  std::uint32_t queues_made_ = 0;
  std::vector<std::weak_ptr<Queue>> queues_;
  Clock host_;  // what the host has waited for
  RaceOracle races_;
};

}  // namespace miniinfer::fake
