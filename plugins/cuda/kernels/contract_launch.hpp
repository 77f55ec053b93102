#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace miniinfer::cuda {

// A batched product of integers, in elements. `axes` batch axes, outermost first.
struct IntegerContract {
  const void* a;
  const void* b;
  void* out;
  std::int64_t m, n, k;
  std::int64_t a_row, a_column;  // of [m, k]
  std::int64_t b_row, b_column;  // of [k, n]
  std::int64_t out_row, out_column;
  std::int64_t batches;
  int axes;
  std::int64_t dims[6], a_batch[6], b_batch[6], out_batch[6];
  int element_bytes;  // 1, 2, 4 or 8: the low bits of a product do not depend on the sign
};

cudaError_t launch_contract_integer(const IntegerContract& args, cudaStream_t stream);

}  // namespace miniinfer::cuda
