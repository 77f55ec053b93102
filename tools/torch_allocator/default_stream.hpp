#pragma once

#include "miniinfer/status.hpp"

namespace miniinfer::torch_allocator {

// A stream of that CUDA device that has the order of CUDA's default stream, which has no handle of
// its own to work on: a blocking one. What is put on it waits for all that the default stream was
// given before, and what the default stream is given later waits for it
// (https://docs.nvidia.com/cuda/cuda-runtime-api/stream-sync-behavior.html). Never destroyed.
// UNAVAILABLE without the driver.
Result<void*> make_default_stream(int device);

}  // namespace miniinfer::torch_allocator
