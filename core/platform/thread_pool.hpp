#pragma once

#include <cstdint>
#include <memory>

#include "miniinfer/abi/host.h"

namespace miniinfer {

// Workers for parallel loops. The caller of a loop takes part; pieces are claimed by an atomic
// counter, so a worker whose core is busy elsewhere delays one piece only; workers spin for a few
// microseconds after a loop and then park. Any number of threads may run loops at one time: a loop
// that finds the workers taken runs on its caller alone, as does a loop inside a loop.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // the caller included; at least 1
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const noexcept;

  // As miniinfer_host.parallel_for. Allocates nothing. [any-thread]
  miniinfer_code parallel_for(std::uint64_t count, std::uint64_t grain, std::uint32_t max_threads,
                              miniinfer_loop_body body, void* context) noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The least of the affinity mask, the cgroup's CPU quota (rounded up) and the physical cores; at
// least 1. Reads /sys and /proc; call once.
int usable_cores();

// For `doctor` and `devices`: "2 threads (affinity 64, cgroup 2.0)".
struct CoreCount {
  int affinity = 1;
  double cgroup_cpus = 0;  // 0: no quota
  int physical = 1;
};
CoreCount count_cores();

}  // namespace miniinfer
