#include "plugins/fake/scheduler.hpp"

#include <cstddef>
#include <mutex>
#include <utility>

#include "miniinfer/sdk/error.hpp"

namespace miniinfer::fake {
namespace {

struct Shared {
  std::mutex mutex;
  Clock host;  // what the host has waited for, in every slot there is
  std::vector<std::uint32_t> free_slots;
};

Shared& shared() {
  static Shared* const all = new Shared;  // never destroyed: devices may be closed after all else
  return *all;
}

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

// The queue that has to move for this one to, which has tasks. Queues only wait for what was put
// before the wait, so that there is one.
Queue& foremost(Queue& queue) {
  Queue* at = &queue;
  while (!can_run(*at)) at = at->tasks.front().wait_queue.get();
  return *at;
}

}  // namespace

std::shared_ptr<Queue> Scheduler::make_queue() {
  std::lock_guard lock(shared().mutex);
  auto queue = std::make_shared<Queue>();
  queue->scheduler = this;
  queue->number = ++queues_made_;
  auto& [mutex, host, free_slots] = shared();
  if (free_slots.empty()) {
    queue->slot = static_cast<std::uint32_t>(host.size());
    host.push_back(0);
  } else {
    queue->slot = free_slots.back();
    free_slots.pop_back();
  }
  // The host has waited for all that the slot's last queue did.
  queue->first = queue->put = queue->done = host[queue->slot];
  queue->clock = host;
  queues_.push_back(queue);
  return queue;
}

void Scheduler::add(Queue& queue, Queue::Task task) {
  merge(queue.clock, shared().host);
  queue.clock[queue.slot] = ++queue.put;
  queue.tasks.push_back(std::move(task));
}

std::vector<std::string> Scheduler::put(Queue& queue, const char* name, std::function<void()> work,
                                        bool always, const std::vector<Access>& accesses) {
  std::lock_guard lock(shared().mutex);
  add(queue, {std::move(work), always, nullptr});
  const Work added{name, queue.slot, queue.put, queue.number, queue.put - queue.first};
  std::vector<std::string> races;
  for (const Access& access : accesses) {
    std::string race = races_.use(access, added, queue.clock, shared().host);
    if (!race.empty()) races.push_back(std::move(race));
  }
  return races;
}

std::array<std::string, 2> Scheduler::put_copy(Queue& queue, std::function<void()> work,
                                               const Mark& after, const Access& here,
                                               Scheduler& other, const Access& there) {
  std::lock_guard lock(shared().mutex);
  merge(queue.clock, after.clock);
  add(queue, {std::move(work), false, after.queue, after.position});
  const auto use = [&](const char* name, RaceOracle& races, const Access& access) {
    const Work added{name, queue.slot, queue.put, queue.number, queue.put - queue.first};
    return races.use(access, added, queue.clock, shared().host);
  };
  return {use("copy from a peer", races_, here), use("copy by a peer", other.races_, there)};
}

void Scheduler::put_wait(Queue& queue, const Mark& mark) {
  std::lock_guard lock(shared().mutex);
  merge(queue.clock, mark.clock);
  add(queue, {{}, false, mark.queue, mark.position});
}

Mark Scheduler::end_of(const std::shared_ptr<Queue>& queue) {
  std::lock_guard lock(shared().mutex);
  return {queue, queue->put, queue->clock};
}

std::string Scheduler::take_away(miniinfer_mem mem, std::uint64_t bytes, const char* how) {
  std::lock_guard lock(shared().mutex);
  return races_.take_away(mem, bytes, how, shared().host);
}

void Scheduler::forget(miniinfer_mem mem, std::uint64_t bytes) {
  std::lock_guard lock(shared().mutex);
  races_.forget(mem, bytes);
}

void Scheduler::note(miniinfer_mem mem, std::uint64_t bytes, const char* what, const Queue* queue) {
  std::lock_guard lock(shared().mutex);
  races_.note(mem, bytes, what, queue == nullptr ? 0 : queue->number);
}

std::uint64_t Scheduler::advance(std::uint64_t tasks) {
  std::lock_guard lock(shared().mutex);
  std::uint64_t done = 0;
  while (done < tasks && step()) ++done;
  return done;
}

void Scheduler::finish(const Mark& mark) {
  if (mark.queue == nullptr) return;
  std::exception_ptr failure;
  {
    std::lock_guard lock(shared().mutex);
    run_until(*mark.queue, mark.position);
    merge(shared().host, mark.clock);
    failure = mark.queue->failure;
  }
  if (failure != nullptr) std::rethrow_exception(failure);
}

void Scheduler::finish_all() {
  std::exception_ptr failure;
  {
    std::lock_guard lock(shared().mutex);
    for (const std::shared_ptr<Queue>& queue : queues_) {
      run_until(*queue, queue->put);
      merge(shared().host, queue->clock);
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
    std::lock_guard lock(shared().mutex);
    failure = mark.queue->failure;
    done = mark.queue->done >= mark.position;
    if (done) {
      merge(shared().host, mark.clock);
    } else if (seeded_) {
      step();
    } else {
      run_one(foremost(*mark.queue));
    }
  }
  if (failure != nullptr) std::rethrow_exception(failure);
  return done;
}

void Scheduler::close(const std::shared_ptr<Queue>& queue, bool drop) {
  std::lock_guard lock(shared().mutex);
  if (drop && queue->failure == nullptr) {
    queue->failure = std::make_exception_ptr(
        sdk::Error(MINIINFER_DEVICE_LOST, "the stream was destroyed on a lost device"));
  }
  run_until(*queue, queue->put);
  merge(shared().host, queue->clock);
  std::erase(queues_, queue);
  shared().free_slots.push_back(queue->slot);
}

bool Scheduler::step() {
  if (queues_.empty()) return false;
  const std::size_t from = draw(random_) % queues_.size();
  Queue* next = nullptr;
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    Queue& queue = *queues_[(from + i) % queues_.size()];
    if (queue.tasks.empty()) continue;
    next = &queue;
    if (can_run(queue)) break;
  }
  if (next == nullptr) return false;
  run_one(foremost(*next));  // of another device where all here come after its work
  return true;
}

void Scheduler::run_until(Queue& queue, std::uint64_t position) {
  while (queue.done < position) {
    if (!seeded_ || !step()) run_one(foremost(queue));
  }
}

void Scheduler::run_one(Queue& queue) {
  Queue::Task task = std::move(queue.tasks.front());
  queue.tasks.pop_front();
  ++queue.done;
  if (queue.failure != nullptr && !task.always) return;
  try {
    const Queue* other = task.wait_queue.get();
    if (other != nullptr && other->failure != nullptr) {
      if (other->scheduler == queue.scheduler) std::rethrow_exception(other->failure);
      sdk::fail(MINIINFER_INTERNAL, "what this waits for on another device has failed");
    }
    if (task.work) task.work();
  } catch (...) {
    if (queue.failure == nullptr) queue.failure = std::current_exception();
  }
}

}  // namespace miniinfer::fake
