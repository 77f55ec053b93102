#pragma once

// What the programs that ask CUDA in the rows of allocator_rows.hpp have in common.

#include <cuda_runtime_api.h>

#include <string>

#include "allocator_rows.hpp"

namespace allocator_rows {

inline void check(cudaError_t error, const char* call) {
  if (error != cudaSuccess) fail(std::string(call) + ": " + cudaGetErrorString(error));
}

// One for each `on`, none of which waits for the default stream. They live as long as the process.
class Streams {
 public:
  Streams() {
    for (cudaStream_t& stream : streams_) {
      check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    }
  }
  cudaStream_t operator[](int on) const { return streams_[on]; }

 private:
  cudaStream_t streams_[1 + kThreads] = {};
};

}  // namespace allocator_rows
