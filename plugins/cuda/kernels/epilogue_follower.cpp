#include "plugins/cuda/kernels/epilogue_follower.hpp"

#include "miniinfer/abi/op/pointwise.h"
#include "plugins/cuda/kernels/pointwise_program.hpp"

namespace miniinfer::cuda {

std::optional<Follower> read_follower(const sdk::Region& region,
                                      const EpilogueAbilities& abilities) {
  if (const auto epilogue = recognise_epilogue(region, abilities))
    return Follower{*epilogue, false};
  if (region.node_count() != 2 || region.op(1) != MINIINFER_POINTWISE) return std::nullopt;
  Follower follower;
  follower.has_program = true;
  // Its own output where the region has it, or one of the program's that looks the same.
  follower.epilogue.target = region.arg_out(0);
  for (std::uint32_t o = 0; o < region.out_count(1) && follower.epilogue.target < 0; ++o) {
    const miniinfer_value& out = region.out(o, 1);
    if (out.dtype == region.out(0).dtype && same_layout(out, region.out(0))) {
      follower.epilogue.target = region.arg_out(o, 1);
    }
  }
  if (follower.epilogue.target < 0) return std::nullopt;
  static_cast<void>(read_pointwise(region, 1));
  return follower;
}

}  // namespace miniinfer::cuda
