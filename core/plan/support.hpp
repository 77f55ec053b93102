#pragma once

#include <string>

#include "core/device/backend_registry.hpp"
#include "core/plan/region.hpp"

namespace miniinfer {

// Whether a device runs a region, and how.
struct Support {
  bool yes = false;
  miniinfer_choice choice{};  // its first choice
  std::string reason;         // why not: a phrase
};

// Asks the device, after checking for it what the boundary promises it is never sent: operators it
// does not publish, attributes newer than it is, pointwise programs beyond its limits.
Support query_support(const OpenDevice& device, const Region& region);

}  // namespace miniinfer
