#pragma once

namespace miniinfer::cuda {
struct Cudnn;
}

namespace miniinfer::test {

// cuDNN's backend interface as the kernels see it, on the host: fake_cudnn.cpp. It holds callers to
// its documentation (attributes with their types and counts, finalize before use) and ends the
// program where they break it; plans compute by the definition.
struct FakeCudnn {
  bool present = false;
  bool takes_fused = true;           // graphs of more than the convolution
  bool wants_residual = false;       // and only those with a sum
  bool takes_uneven_padding = true;  // other at an axis' end than at its beginning
  int engines = 2;                   // of every list; the first uses tensor cores
  double ns[8] = {};                 // what a run of each takes on the stand-in for a stream
  int wrong = -1;                    // the engine that computes something else
  int plans = 0;                     // finalized
  int runs = 0;
  int fused_runs = 0;
  int tensor_core_runs = 0;
  int last_engine = -1;
};
FakeCudnn& fake_cudnn();
const cuda::Cudnn& fake_cudnn_table();

}  // namespace miniinfer::test
