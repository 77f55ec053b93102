#pragma once

#include <string>

#include "command.hpp"

namespace miniinfer::command {

struct BenchOptions {
  CommonOptions common;
  ModelOptions model;
  double warmup_ms = 200;
  double duration_ms = 3000;
  std::string profile;  // empty: none
  bool verify = true;
  bool resident = false;  // inputs lie in the memory of the device that runs most nodes
};

// Loads the model and runs it for the time asked for. Fills in `row`, an element of the document's
// results, and the document's environment. One more run, over other values at the same addresses
// (so that a run which does nothing shows), is compared with cpu:0 without any pass: kDifferent
// where they are not close.
Outcome measure(const BenchOptions& options, Output& output, Json& row);

}  // namespace miniinfer::command
