#pragma once

#include <cstdint>
#include <string>

namespace miniinfer::fake {

// What the user can set, each as an option of the host ("fake.devices") or as a variable
// (MINIINFER_FAKE_DEVICES).
struct Settings {
  std::uint32_t devices = 1;                            // devices
  std::uint64_t memory_bytes = std::uint64_t{1} << 30;  // memory
  std::uint64_t max_block = 0;                          // block: the largest; 0: all the memory
  std::uint64_t granularity = 0;  // granularity of mapping, a power of two; 0: cannot map
  std::uint64_t seed = 0;         // seed, see Scheduler
  bool flat = false;              // flat=1: addresses for handles
  bool is_inline = false;         // inline=1: no streams, memory that the host can reach
  bool peers = true;              // peers=0: no copies from device to device
  std::string plan;               // plan, see FaultPlan
  std::string refuse;             // refuse: "0=contract/1", what that device does not compute
  // layout=channels-last: kernels say what they cost, which is least for convolutions of
  // channels-last operands, and convolutions may have any groups and axes.
  bool prefers_channels_last = false;

  // The operator that a device refuses, or nothing.
  std::string refused(std::uint32_t ordinal) const;

  // Throws sdk::Error(INVALID_ARGUMENT) that quotes what it cannot read or use.
  static Settings current();
};

}  // namespace miniinfer::fake
