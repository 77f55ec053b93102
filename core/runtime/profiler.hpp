#pragma once

#include <chrono>
#include <cstddef>

#include "core/plan/plan.hpp"
#include "miniinfer/trace.hpp"

namespace miniinfer {

// Times the steps of one run as the host makes them. [one-at-a-time]
class Profiler {
 public:
  explicit Profiler(Trace& trace);

  // Each ends now; it began where the one before ended, or at begin().
  void begin();
  void end_step(const Plan& plan, std::size_t step);
  void end_wait(const Plan& plan);

 private:
  using Clock = std::chrono::steady_clock;
  void add(TraceStep step, Clock::time_point end);

  Trace& trace_;
  Clock::time_point start_;
  Clock::time_point last_;
};

}  // namespace miniinfer
