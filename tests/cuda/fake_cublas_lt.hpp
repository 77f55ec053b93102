#pragma once

namespace miniinfer::cuda {
struct CublasLt;
}

namespace miniinfer::test {

// cuBLASLt as the kernels see it, by the definition and on the host: fake_cublas_lt.cpp. It ends
// the program where it is used against its rules: sizes that do not fit, a leading dimension that
// is too small, pointers less aligned than the algorithm was asked for.
struct FakeCublasLt {
  bool present = true;
  bool knows_epilogues = true;    // otherwise it has no algorithm for any
  int algorithms = 1;             // of every answer
  bool changes_its_mind = false;  // no two answers name the same algorithms, though all do work
  double ns[8] = {};              // what a call by each takes on the stand-in for a stream
  int wrong = -1;                 // the algorithm that computes something else
  int greedy = -1;                // the algorithm that wants more scratch than there is
  int calls = 0;                  // of cublasLtMatmul
  int fused_calls = 0;            // with an epilogue
  int tf32_calls = 0;             // that may round float32 to TF32
  int last_algorithm = -1;
};
FakeCublasLt& fake_cublas_lt();
const cuda::CublasLt& fake_cublas_lt_table();

}  // namespace miniinfer::test
