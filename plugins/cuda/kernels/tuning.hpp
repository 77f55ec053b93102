#pragma once

// Which of several ways of computing a problem is the fastest: measured where the user wants it,
// and remembered while the device is open and in the host's cache.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "miniinfer/abi/base.h"
#include "plugins/cuda/bench.hpp"
#include "plugins/cuda/device.hpp"

namespace miniinfer::cuda {

// The option cuda.tune is "on".
bool tuning_wanted();

// What was found to be fastest for a problem, as the library that has the ways names it. The
// problem says everything that the answer depends on; device and plugin are added. The caller holds
// the findings' mutex.
class Fastest {
 public:
  Fastest(Device& device, const std::string& problem);
  // Empty where it is not known. A name that the library no longer knows is the caller's to ignore.
  std::string recall() const;
  void remember(const std::string& way) const;

 private:
  Device& device_;
  std::string subject_;
};

// Numbers between -1 and 1 for operands; the same each time, and as many bits in use as in life.
std::vector<std::byte> tuning_numbers(miniinfer_dtype dtype);

struct Trial {
  std::string problem;  // for messages: "a convolution of 1x64x56x56 and 64x64x3x3"
  std::size_t ways = 0;
  std::function<void(std::size_t)> run;  // puts that way on the bench's stream; may throw
  std::byte* out = nullptr;              // what all of them write
  std::uint64_t out_bytes = 0;
  miniinfer_dtype dtype = MINIINFER_FLOAT32;
  std::uint32_t math = 0;  // MINIINFER_MATH_*
};

// The index of the fastest. A way that fails, or whose result differs from the first's by more than
// rounding, is out; nothing where all are. Ways that are about as fast lose against earlier ones.
std::optional<std::size_t> find_fastest(Device& device, Bench& bench, const Trial& trial);

}  // namespace miniinfer::cuda
