#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "plugins/cuda/handles.hpp"

namespace miniinfer::cuda {

class Device;

// Where ways of computing are tried: a stream of its own and memory for operands, given back at the
// end. The device is current; all of it throws. By one thread at a time.
class Bench {
 public:
  explicit Bench(Device& device);
  ~Bench();
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  cudaStream_t stream() const { return stream_.get(); }

  // Memory that begins with `pattern`, again and again. OUT_OF_MEMORY where there is none.
  std::byte* take(std::uint64_t bytes, const std::vector<std::byte>& pattern);
  void clear(std::byte* start, std::uint64_t bytes);
  // Waits.
  void read(void* to, const std::byte* from, std::uint64_t bytes);

  using Run = std::function<void()>;  // puts work on the stream
  // Waits.
  void run(const Run& run);
  // Nanoseconds that a run takes as part of a recorded graph, as in a steady run: the least of some
  // means. Above `hopeless_ns` it is not looked at closer. What cannot be recorded fails. It has
  // been run before.
  double time_ns(const Run& run, double hopeless_ns);

  // Since the bench was set up.
  double elapsed_ms() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin_)
        .count();
  }

 private:
  UniqueGraphExec record(const Run& run, int times);
  double timed_ns(const Run& run);

  Device& device_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  UniqueStream stream_;
  UniqueEvent from_, to_;
  std::vector<std::pair<std::byte*, std::uint64_t>> taken_;
};

}  // namespace miniinfer::cuda
