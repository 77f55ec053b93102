#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "miniinfer/status.hpp"

namespace miniinfer {

struct ChildOutcome {
  std::string answer;      // what it wrote to the answer pipe, at most 64 KiB
  bool timed_out = false;  // it was killed
  int exit_status = 0;     // or 128 + the signal it died of; 0 where others collected it
};

// Runs a program (an absolute path) with these arguments and "--answer-fd N" after them, N being a
// pipe for its answer; its standard input and output are /dev/null, its errors go where ours go.
// Waits until it has ended or the deadline has passed; then it is killed. UNAVAILABLE where it
// cannot be started. [any-thread]
Result<ChildOutcome> run_child(const std::string& program, std::vector<std::string> arguments,
                               std::chrono::milliseconds deadline);

}  // namespace miniinfer
