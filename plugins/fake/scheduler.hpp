#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace miniinfer::fake {

// The work of one stream. Guarded by the scheduler's mutex.
struct Queue {
  struct Task {
    std::function<void()> work;
    bool always;                  // runs even after a failure: bookkeeping
    std::shared_ptr<Queue> wait;  // not null: waits for that queue's first `position` tasks
    std::uint64_t position;
  };

  std::deque<Task> tasks;
  std::uint64_t put = 0;   // tasks ever put here
  std::uint64_t done = 0;  // tasks finished, in order
  std::exception_ptr failure;
};

// Work that was put on streams and not asked for yet. Nothing runs before somebody waits, so work
// whose order nobody asked for runs in a surprising one. A question that is answered "not yet"
// moves its queue on by one task, so that who polls gets there. [any-thread]
class Scheduler {
 public:
  std::shared_ptr<Queue> make_queue();
  void put(Queue& queue, std::function<void()> work, bool always = false);
  void put_wait(Queue& queue, std::shared_ptr<Queue> other, std::uint64_t position);
  std::uint64_t end_of(const Queue& queue);

  // Runs a queue's first `position` tasks and throws what any of them failed with.
  void finish(Queue& queue, std::uint64_t position);
  void finish_all();
  bool ask(Queue& queue, std::uint64_t position);
  // As finish, up to the end and without throwing; `drop` leaves out everything but bookkeeping.
  void close(Queue& queue, bool drop);

 private:
  void run_until(Queue& queue, std::uint64_t position);
  void run_one(Queue& queue);

  std::mutex mutex_;
  std::vector<std::weak_ptr<Queue>> queues_;
};

}  // namespace miniinfer::fake
