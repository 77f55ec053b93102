#pragma once

// Kernels of the CUDA backend on a device that is the host.
//
//   #include "tests/cuda/emulated.hpp"  // before the kernel
//
//   #include "plugins/cuda/kernels/top_k.cu"
//   #include "plugins/cuda/kernels/top_k.hpp"
//
//   const Outputs got = run_emulated(cuda::kTopK, builder, {data});

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "plugins/cuda/family.hpp"
#include "tests/cpu/region_builder.hpp"

namespace miniinfer::test {

// Support, make, pack what is constant, and enqueue once. Outputs are allocated by their dims and
// begin as 0xA5, as does the workspace; `shift` bytes are put before each operand, so that it is no
// better aligned than that; `in_place` gives output 0 the memory of input 0, which the choice must
// allow.
Outputs run_emulated(const cuda::Family& family, RegionBuilder& builder,
                     const std::vector<std::vector<std::byte>>& inputs, std::size_t shift = 0,
                     bool in_place = false);

template <class T>
std::vector<std::byte> raw_bytes(const std::vector<T>& values) {
  const auto* data = reinterpret_cast<const std::byte*>(values.data());
  return {data, data + values.size() * sizeof(T)};
}

}  // namespace miniinfer::test
