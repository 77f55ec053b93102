#pragma once

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "core/cpu/backend.hpp"
#include "core/cpu/kernel.hpp"
#include "tests/sdk/test_host.hpp"

namespace miniinfer::test {

// While it lives the kernels' loops run on this many threads of their own, pieces claimed one by
// one.
class ThreadHost {
 public:
  explicit ThreadHost(std::uint32_t threads) : before_(cpu::host()), threads_(threads) {
    table_ = *base_.table();
    table_.self = this;
    table_.set_error = [](const miniinfer_host*, const char*) {};
    table_.thread_count = [](const miniinfer_host* host) { return self(host).threads_; };
    table_.parallel_for = loop;
    cpu::set_host(table_);
  }
  ~ThreadHost() { cpu::set_host(before_); }
  ThreadHost(const ThreadHost&) = delete;

 private:
  static ThreadHost& self(const miniinfer_host* host) {
    return *static_cast<ThreadHost*>(host->self);
  }
  static miniinfer_code loop(const miniinfer_host* host, std::uint64_t count, std::uint64_t grain,
                             std::uint32_t max_threads, miniinfer_loop_body body, void* context) {
    const std::uint32_t threads =
        std::min(self(host).threads_, max_threads == 0 ? self(host).threads_ : max_threads);
    std::atomic<std::uint64_t> next{0};
    const auto work = [&](std::uint32_t worker) {
      for (;;) {
        const std::uint64_t begin = next.fetch_add(grain);
        if (begin >= count) return;
        body(context, begin, std::min(count, begin + grain), worker);
      }
    };
    std::vector<std::thread> others;
    for (std::uint32_t worker = 1; worker < threads; ++worker) others.emplace_back(work, worker);
    work(0);
    for (std::thread& thread : others) thread.join();
    return MINIINFER_OK;
  }

  TestHost base_;
  const miniinfer_host& before_;
  std::uint32_t threads_;
  miniinfer_host table_;
};

}  // namespace miniinfer::test
