#pragma once

// What a run did, step by step: point RunOptions::trace at a Trace. A run without one pays a branch
// a step.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "miniinfer/export.hpp"

namespace miniinfer {

// A kernel or a copy. Times are the host's.
struct TraceStep {
  std::string name;                // "conv/1 + pointwise/1", "transfer from cpu:0", "wait"
  std::vector<std::string> nodes;  // those of the model's file that it computes
  std::string device;              // where the work is done
  std::uint64_t bytes = 0;         // of all operands, each counted once
  bool complete = true;  // false: the time to hand the work over; it runs until a later wait
  std::chrono::nanoseconds begin{0};  // since the run began
  std::chrono::nanoseconds duration{0};
};

// Steps in the order they were made, of a run that failed those before the failure. Names are as
// the model's file has them: escape them before printing.
struct Trace {
  std::vector<TraceStep> steps;
};

}  // namespace miniinfer
