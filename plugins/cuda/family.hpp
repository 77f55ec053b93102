#pragma once

// The kernels the backend has: one family for each operator id, each in files of its own under
// kernels/. A region is served by the family of its first node.

#include <cstdint>
#include <memory>
#include <span>

#include "miniinfer/sdk/choices.hpp"
#include "miniinfer/sdk/kernel.hpp"
#include "miniinfer/sdk/region.hpp"

namespace miniinfer::cuda {

class Device;

struct Family {
  const char* op;           // "copy/1"
  std::uint64_t attr_size;  // sizeof its attribute struct
  // Adds choices or refuses with a reason; neither touches the device nor opens a library unless
  // the answer depends on it.
  void (*support)(const Device& device, const sdk::Region& region, sdk::Choices& choices);
  std::unique_ptr<sdk::Kernel> (*make)(Device& device, const sdk::Region& region,
                                       const miniinfer_choice& choice);
};

// All families, in families.cpp: the only place that lists them.
std::span<const Family* const> families();

}  // namespace miniinfer::cuda
