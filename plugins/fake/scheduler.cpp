#include "plugins/fake/scheduler.hpp"

#include <utility>

#include "miniinfer/sdk/error.hpp"

namespace miniinfer::fake {

std::shared_ptr<Queue> Scheduler::make_queue() {
  std::lock_guard lock(mutex_);
  std::erase_if(queues_, [](const auto& queue) { return queue.expired(); });
  auto queue = std::make_shared<Queue>();
  queues_.push_back(queue);
  return queue;
}

void Scheduler::put(Queue& queue, std::function<void()> work, bool always) {
  std::lock_guard lock(mutex_);
  queue.tasks.push_back({std::move(work), always, nullptr, 0});
  ++queue.put;
}

void Scheduler::put_wait(Queue& queue, std::shared_ptr<Queue> other, std::uint64_t position) {
  std::lock_guard lock(mutex_);
  queue.tasks.push_back({{}, false, std::move(other), position});
  ++queue.put;
}

std::uint64_t Scheduler::end_of(const Queue& queue) {
  std::lock_guard lock(mutex_);
  return queue.put;
}

void Scheduler::finish(Queue& queue, std::uint64_t position) {
  std::exception_ptr failure;
  {
    std::lock_guard lock(mutex_);
    run_until(queue, position);
    failure = queue.failure;
  }
  if (failure != nullptr) std::rethrow_exception(failure);
}

void Scheduler::finish_all() {
  std::exception_ptr failure;
  {
    std::lock_guard lock(mutex_);
    for (const auto& weak : queues_) {
      const std::shared_ptr<Queue> queue = weak.lock();
      if (queue == nullptr) continue;
      run_until(*queue, queue->put);
      if (failure == nullptr) failure = queue->failure;
    }
  }
  if (failure != nullptr) std::rethrow_exception(failure);
}

bool Scheduler::ask(Queue& queue, std::uint64_t position) {
  std::exception_ptr failure;
  bool done;
  {
    std::lock_guard lock(mutex_);
    failure = queue.failure;
    done = queue.done >= position;
    if (!done) run_one(queue);
  }
  if (failure != nullptr) std::rethrow_exception(failure);
  return done;
}

void Scheduler::close(Queue& queue, bool drop) {
  std::lock_guard lock(mutex_);
  if (drop && queue.failure == nullptr) {
    queue.failure = std::make_exception_ptr(
        sdk::Error(MINIINFER_DEVICE_LOST, "the stream was destroyed on a lost device"));
  }
  run_until(queue, queue.put);
}

void Scheduler::run_until(Queue& queue, std::uint64_t position) {
  while (queue.done < position) run_one(queue);
}

void Scheduler::run_one(Queue& queue) {
  Queue::Task task = std::move(queue.tasks.front());
  queue.tasks.pop_front();
  ++queue.done;
  if (queue.failure != nullptr && !task.always) return;
  try {
    if (task.wait != nullptr) {
      run_until(*task.wait, task.position);
      if (task.wait->failure != nullptr) std::rethrow_exception(task.wait->failure);
    } else {
      task.work();
    }
  } catch (...) {
    if (queue.failure == nullptr) queue.failure = std::current_exception();
  }
}

}  // namespace miniinfer::fake
