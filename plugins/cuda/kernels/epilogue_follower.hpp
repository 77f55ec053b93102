#pragma once

#include <optional>

#include "plugins/cuda/device.hpp"
#include "plugins/cuda/kernels/epilogue.hpp"
#include "plugins/cuda/kernels/pointwise.hpp"

namespace miniinfer::cuda {

// What follows a producer in its region: what the producer can do as it writes, or else any
// pointwise program, run over what it wrote.
struct Follower {
  Epilogue epilogue;  // its target is the producer's in either case
  bool has_program = false;

  // The program, ready to be launched with the target as what is inside the region.
  std::optional<PointwiseRunner> make_program(const Device& device,
                                              const sdk::Region& region) const {
    if (!has_program) return std::nullopt;
    return std::optional<PointwiseRunner>(std::in_place, device, region, 1);
  }
};

// Nothing where the producer has no output of the region to write into. Throws UNSUPPORTED with the
// reason where the program itself is not served.
std::optional<Follower> read_follower(const sdk::Region& region,
                                      const EpilogueAbilities& abilities);

}  // namespace miniinfer::cuda
