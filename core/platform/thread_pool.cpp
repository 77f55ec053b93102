#include "core/platform/thread_pool.hpp"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

namespace miniinfer {
namespace {

// About 5 us: longer than the gap between two kernels of a small model, shorter than what a
// neighbour on the same core would notice.
constexpr int kSpins = 150;

thread_local bool t_in_loop = false;

void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

struct ThreadPool::Impl {
  // The loop at hand. Written by its caller before `generation` goes up, read by workers after.
  std::uint64_t count = 0;
  std::uint64_t grain = 1;
  miniinfer_loop_body body = nullptr;
  void* context = nullptr;
  std::uint32_t helpers = 0;  // workers that may take part

  alignas(64) std::atomic<std::uint64_t> next{0};        // the first item not claimed
  alignas(64) std::atomic<std::int32_t> failure{0};      // the first code that was not Ok
  alignas(64) std::atomic<std::uint32_t> generation{0};  // goes up with each loop; parks workers
  alignas(64) std::atomic<std::uint32_t> open{0};        // seats left in the loop at hand
  alignas(64) std::atomic<std::uint32_t> busy{0};        // workers inside it
  alignas(64) std::atomic<bool> taken{false};            // a caller has the workers
  std::atomic<bool> stopping{false};
  std::vector<std::thread> threads;

  void work_off(std::uint32_t worker) {
    while (true) {
      const std::uint64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= count || failure.load(std::memory_order_relaxed) != MINIINFER_OK) return;
      const miniinfer_code code = body(context, begin, std::min(begin + grain, count), worker);
      if (code != MINIINFER_OK) {
        std::int32_t ok = MINIINFER_OK;
        failure.compare_exchange_strong(ok, code, std::memory_order_relaxed);
      }
    }
  }

  // A worker takes a seat, or finds that the loop is full or over. `busy` goes up first: the caller
  // waits for it after closing the seats, so no worker can be inside a loop that has returned.
  void join_loop() {
    busy.fetch_add(1, std::memory_order_seq_cst);
    std::uint32_t seats = open.load(std::memory_order_seq_cst);
    while (seats > 0 && !open.compare_exchange_weak(seats, seats - 1, std::memory_order_seq_cst)) {
    }
    if (seats > 0) work_off(seats);  // worker numbers are helpers .. 1; the caller is 0
    busy.fetch_sub(1, std::memory_order_release);
  }

  void serve() {
    t_in_loop = true;
    std::uint32_t seen = 0;
    while (true) {
      std::uint32_t now = generation.load(std::memory_order_acquire);
      for (int spin = 0; now == seen && spin < kSpins; ++spin) {
        cpu_relax();
        now = generation.load(std::memory_order_acquire);
      }
      if (now == seen) {
        generation.wait(seen, std::memory_order_acquire);
        continue;
      }
      seen = now;
      if (stopping.load(std::memory_order_relaxed)) return;
      join_loop();
    }
  }
};

ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>()) {
  // Where the system gives no more threads, those that came do the work.
  try {
    for (int i = 1; i < threads; ++i) {
      impl_->threads.emplace_back([this] { impl_->serve(); });
    }
  } catch (const std::system_error&) {
  }
}

ThreadPool::~ThreadPool() {
  impl_->stopping.store(true, std::memory_order_relaxed);
  impl_->generation.fetch_add(1, std::memory_order_release);
  impl_->generation.notify_all();
  for (std::thread& thread : impl_->threads) thread.join();
}

int ThreadPool::threads() const noexcept { return static_cast<int>(impl_->threads.size()) + 1; }

miniinfer_code ThreadPool::parallel_for(std::uint64_t count, std::uint64_t grain,
                                        std::uint32_t max_threads, miniinfer_loop_body body,
                                        void* context) noexcept {
  if (count == 0) return MINIINFER_OK;
  grain = std::max<std::uint64_t>(grain, 1);
  Impl& pool = *impl_;
  const std::uint64_t pieces = (count - 1) / grain + 1;
  std::uint64_t helpers = std::min<std::uint64_t>(pool.threads.size(), pieces - 1);
  if (max_threads > 0) helpers = std::min<std::uint64_t>(helpers, max_threads - 1);
  if (helpers == 0 || t_in_loop || pool.taken.exchange(true, std::memory_order_acquire)) {
    return body(context, 0, count, 0);
  }
  pool.count = count;
  pool.grain = grain;
  pool.body = body;
  pool.context = context;
  pool.next.store(0, std::memory_order_relaxed);
  pool.failure.store(MINIINFER_OK, std::memory_order_relaxed);
  pool.open.store(static_cast<std::uint32_t>(helpers), std::memory_order_seq_cst);
  pool.generation.fetch_add(1, std::memory_order_release);
  pool.generation.notify_all();

  t_in_loop = true;
  pool.work_off(0);
  t_in_loop = false;
  pool.open.store(0, std::memory_order_seq_cst);
  // Pieces that workers hold are on their way; give up the core if they take long.
  for (int spin = 0; pool.busy.load(std::memory_order_seq_cst) > 0; ++spin) {
    if (spin < 1000) {
      cpu_relax();
    } else {
      std::this_thread::yield();
    }
  }
  const miniinfer_code code = pool.failure.load(std::memory_order_relaxed);
  pool.taken.store(false, std::memory_order_release);
  return code;
}

}  // namespace miniinfer
