#include "plugins/fake/scheduler.hpp"

#include <cstddef>
#include <utility>

#include "miniinfer/sdk/error.hpp"

namespace miniinfer::fake {
namespace {

// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
std::uint64_t draw(std::uint64_t& state) {
  std::uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

bool can_run(const Queue& queue) {
  if (queue.tasks.empty()) return false;
  const Queue::Task& next = queue.tasks.front();
  return next.wait_queue == nullptr || next.wait_queue->done >= next.wait_position;
}

}  // namespace

std::shared_ptr<Queue> Scheduler::make_queue() {
  std::lock_guard lock(mutex_);
  auto queue = std::make_shared<Queue>();
  queue->number = ++queues_made_;
  if (free_slots_.empty()) {
    queue->slot = slots_++;
    host_.resize(slots_);
  } else {
    queue->slot = free_slots_.back();
    free_slots_.pop_back();
  }
  // The host has waited for all that the slot's last queue did.
  queue->first = queue->put = queue->done = host_[queue->slot];
  queue->clock = host_;
  queues_.push_back(queue);
  return queue;
}

void Scheduler::add(Queue& queue, Queue::Task task) {
  merge(queue.clock, host_);
  queue.clock[queue.slot] = ++queue.put;
  queue.tasks.push_back(std::move(task));
}

std::vector<std::string> Scheduler::put(Queue& queue, const char* name, std::function<void()> work,
                                        bool always, const std::vector<Access>& accesses) {
  std::lock_guard lock(mutex_);
  add(queue, {std::move(work), always, nullptr});
  const Work added{name, queue.slot, queue.put, queue.number, queue.put - queue.first};
  std::vector<std::string> races;
  for (const Access& access : accesses) {
    std::string race = races_.use(access, added, queue.clock, host_);
    if (!race.empty()) races.push_back(std::move(race));
  }
  return races;
}

void Scheduler::put_wait(Queue& queue, const Mark& mark) {
  std::lock_guard lock(mutex_);
  merge(queue.clock, mark.clock);
  add(queue, {{}, false, mark.queue, mark.position});
}

Mark Scheduler::end_of(const std::shared_ptr<Queue>& queue) {
  std::lock_guard lock(mutex_);
  return {queue, queue->put, queue->clock};
}

std::string Scheduler::take_away(miniinfer_mem mem, std::uint64_t bytes, const char* how) {
  std::lock_guard lock(mutex_);
  return races_.take_away(mem, bytes, how, host_);
}

void Scheduler::forget(miniinfer_mem mem, std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  races_.forget(mem, bytes);
}

void Scheduler::note(miniinfer_mem mem, std::uint64_t bytes, const char* what, const Queue* queue) {
  std::lock_guard lock(mutex_);
  races_.note(mem, bytes, what, queue == nullptr ? 0 : queue->number);
}

std::uint64_t Scheduler::advance(std::uint64_t tasks) {
  std::lock_guard lock(mutex_);
  std::uint64_t done = 0;
  while (done < tasks && step()) ++done;
  return done;
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
    for (const std::shared_ptr<Queue>& queue : queues_) {
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
    } else if (seeded_) {
      step();
    } else {
      run_one(*mark.queue);
    }
  }
  if (failure != nullptr) std::rethrow_exception(failure);
  return done;
}

void Scheduler::close(const std::shared_ptr<Queue>& queue, bool drop) {
  std::lock_guard lock(mutex_);
  if (drop && queue->failure == nullptr) {
    queue->failure = std::make_exception_ptr(
        sdk::Error(MINIINFER_DEVICE_LOST, "the stream was destroyed on a lost device"));
  }
  run_until(*queue, queue->put);
  merge(host_, queue->clock);
  std::erase(queues_, queue);
  free_slots_.push_back(queue->slot);
}

bool Scheduler::step() {
  // Queues only wait for what was put before the wait, so that the oldest task can always run.
  if (queues_.empty()) return false;
  const std::size_t from = draw(random_) % queues_.size();
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    Queue& queue = *queues_[(from + i) % queues_.size()];
    if (!can_run(queue)) continue;
    run_one(queue);
    return true;
  }
  return false;
}

void Scheduler::run_until(Queue& queue, std::uint64_t position) {
  while (queue.done < position) {
    if (!seeded_ || !step()) run_one(queue);
  }
}

void Scheduler::run_one(Queue& queue) {
  Queue::Task task = std::move(queue.tasks.front());
  queue.tasks.pop_front();
  ++queue.done;
  if (queue.failure != nullptr && !task.always) return;
  try {
    if (Queue* other = task.wait_queue.get()) {
      run_until(*other, task.wait_position);
      if (other->failure != nullptr) std::rethrow_exception(other->failure);
    } else {
      task.work();
    }
  } catch (...) {
    if (queue.failure == nullptr) queue.failure = std::current_exception();
  }
}

}  // namespace miniinfer::fake
