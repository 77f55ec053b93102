#pragma once

#include <cstdint>
#include <string>

namespace miniinfer::fake {

// What the user can set: host options "fake.devices", "fake.memory" and "fake.plan", or the
// variables MINIINFER_FAKE_DEVICES, MINIINFER_FAKE_MEMORY and MINIINFER_FAKE_PLAN.
struct Settings {
  std::uint32_t devices = 1;
  std::uint64_t memory_bytes = std::uint64_t{1} << 30;
  std::string plan;  // see FaultPlan

  // Throws sdk::Error(INVALID_ARGUMENT) that quotes a number it cannot read.
  static Settings current();
};

}  // namespace miniinfer::fake
