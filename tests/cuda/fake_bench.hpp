#pragma once

namespace miniinfer::test {

// The bench of the CUDA backend on the host: memory of the host, and a clock that the fakes of the
// libraries move on. fake_bench.cpp.
struct FakeBench {
  bool has_memory = true;
  int set_up = 0;  // benches ever made
  int live_blocks = 0;
  double clock_ns = 0;

  static void spend(double ns);
};
FakeBench& fake_bench();

// As if the device were closed and opened again: what kernels found out is forgotten.
void reopen_emulated_device();

}  // namespace miniinfer::test
