#pragma once

#include <cstdint>

#include "miniinfer/abi/op/reduce.h"
#include "miniinfer/sdk/region.hpp"
#include "plugins/cuda/kernels/reduce_launch.hpp"

namespace miniinfer::cuda {

// How a reduction is run: all of its kernel's arguments but the addresses.
struct ReducePlan {
  enum class Shape : std::uint8_t { Rows, Columns, Windows };
  Shape shape = Shape::Rows;
  ReduceWhole whole;    // of Rows and Columns
  ReduceWindow window;  // of Windows

  const ReduceResult& result() const {
    return shape == Shape::Windows ? window.result : whole.result;
  }
  std::uint64_t workspace_bytes() const {
    if (shape == Shape::Windows || whole.parts <= 1) return 0;
    return std::uint64_t{whole.result.outputs} * whole.parts * kReducePartialBytes;
  }
};

// Throws sdk::Error UNSUPPORTED where the reduction cannot be run, with the reason.
ReducePlan plan_reduce(const sdk::Region& region, int multiprocessors);

}  // namespace miniinfer::cuda
