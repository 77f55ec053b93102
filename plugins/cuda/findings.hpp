#pragma once

#include <mutex>
#include <string>

#include "plugins/cuda/kernels/recently_used.hpp"

namespace miniinfer::cuda {

class ConvPlan;

// What kernels of a device have found out, so that later ones need not; it lives as long as the
// device is open. The mutex is held while something is looked for or measured: two measurements at
// a time would be of each other.
struct Findings {
  std::mutex mutex;
  RecentlyUsed<const ConvPlan> conv_plans{256};   // by problem; of nothing: no engine serves it
  RecentlyUsed<const std::string> fastest{1024};  // by subject, see tuning.hpp; empty: unknown
  double measured_ms = 0;                         // in all
};

}  // namespace miniinfer::cuda
