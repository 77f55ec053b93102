#include "plugins/fake/scheduler.hpp"

#include <utility>

#include "miniinfer/sdk/error.hpp"

namespace miniinfer::fake {

std::shared_ptr<Queue> Scheduler::make_queue() {
  std::lock_guard lock(mutex_);
  std::erase_if(queues_, [](const auto& queue) { return queue.expired(); });
  auto queue = std::make_shared<Queue>();
  queue->number = ++queues_made_;
  queues_.push_back(queue);
  return queue;
}

void Scheduler::add(Queue& queue, Queue::Task task) {
  merge(queue.clock, host_);
  merge(queue.clock, task.wait.clock);
  queue.clock[queue.number] = ++queue.put;
  queue.tasks.push_back(std::move(task));
}

std::vector<std::string> Scheduler::put(Queue& queue, std::function<void()> work, bool always,
                                        const std::vector<Access>& accesses) {
  std::lock_guard lock(mutex_);
  add(queue, {std::move(work), always, {}});
  std::vector<std::string> races;
  for (const Access& access : accesses) {
    std::string race = races_.use(access, queue.number, queue.put, queue.clock, host_);
    if (!race.empty()) races.push_back(std::move(race));
  }
  return races;
}

void Scheduler::put_wait(Queue& queue, Mark mark) {
  std::lock_guard lock(mutex_);
  add(queue, {{}, false, std::move(mark)});
}

Mark Scheduler::end_of(const std::shared_ptr<Queue>& queue) {
  std::lock_guard lock(mutex_);
  return {queue, queue->put, queue->clock};
}

std::string Scheduler::give_back(std::uint64_t handle) {
  std::lock_guard lock(mutex_);
  return races_.give_back(handle, host_);
}

void Scheduler::forget(std::uint64_t handle) {
  std::lock_guard lock(mutex_);
  races_.forget(handle);
}

void Scheduler::finish(const Mark& mark) {
  if (mark.queue == nullptr) return;
  std::exception_ptr failure;
  {
    std::lock_guard lock(mutex_);
    run_until(*mark.queue, mark.position);
    merge(host_, mark.clock);
    failure = mark.queue->failure;
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
      merge(host_, queue->clock);
      if (failure == nullptr) failure = queue->failure;
    }
  }
  if (failure != nullptr) std::rethrow_exception(failure);
}

bool Scheduler::ask(const Mark& mark) {
  if (mark.queue == nullptr) return true;
  std::exception_ptr failure;
  bool done;
  {
    std::lock_guard lock(mutex_);
    failure = mark.queue->failure;
    done = mark.queue->done >= mark.position;
    if (done) {
      merge(host_, mark.clock);
    } else {
      run_one(*mark.queue);
    }
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
  merge(host_, queue.clock);
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
    if (Queue* other = task.wait.queue.get()) {
      run_until(*other, task.wait.position);
      if (other->failure != nullptr) std::rethrow_exception(other->failure);
    } else {
      task.work();
    }
  } catch (...) {
    if (queue.failure == nullptr) queue.failure = std::current_exception();
  }
}

}  // namespace miniinfer::fake
