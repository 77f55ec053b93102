#pragma once

// A CUDA graph of nothing but waiting kernels, through the driver alone: what a launch costs that
// has nobody around it. Needs neither the toolkit nor the CUDA runtime.

#include <cstdint>
#include <string>
#include <vector>

namespace miniinfer::bench {

// The driver's functions, from libcuda.so.1.
class Driver {
 public:
  // Empty, or why there is none.
  std::string open();
  // Makes the primary context of the GPU on that bus id wait by sleeping, so that a thread's
  // processor time does not count its waiting. Before the context exists.
  std::string sleep_in_waits(const std::string& bus_id);
  // Free bytes of that GPU, as NVIDIA's management library tells them without a context; 0:
  // unknown.
  static std::uint64_t free_bytes(const std::string& bus_id);
  // Makes that primary context current on this thread.
  std::string enter(const std::string& bus_id);

 private:
  friend class BareGraph;
  template <class F>
  F function(const char* name) const;

  void* library_ = nullptr;
};

class BareGraph {
 public:
  struct Cost {
    double launch_ns = 0;    // the call that launches, alone
    double wait_cpu_ns = 0;  // the thread's processor time from there until the work is done
    double total_ns = 0;     // both, by the clock
  };

  // `nodes` kernels in a row, of one thread each, that together take about `total_ns`.
  std::string make(const Driver& driver, int nodes, double total_ns);
  // Medians of `runs` launches, each waited for.
  std::string measure(int runs, Cost& cost) const;

 private:
  const Driver* driver_ = nullptr;
  void* stream_ = nullptr;
  void* exec_ = nullptr;
};

// Processor time of this thread.
double thread_ns();
double median(std::vector<double> values);

}  // namespace miniinfer::bench
