// The vendor's libraries where kernels are emulated: fakes, or missing.

#include "miniinfer/sdk/error.hpp"
#include "plugins/cuda/context.hpp"
#include "plugins/cuda/libraries.hpp"
#include "tests/cuda/fake_cublas_lt.hpp"
#include "tests/cuda/fake_cudnn.hpp"

namespace miniinfer::cuda {

struct Libraries::State {};
Libraries::Libraries() : state_(nullptr) {}
Libraries& Libraries::instance() {
  static Libraries& instance = *new Libraries;
  return instance;
}
const CublasLt& Libraries::cublas_lt() {
  if (!test::fake_cublas_lt().present) sdk::fail(MINIINFER_UNSUPPORTED, "no cuBLASLt here");
  return test::fake_cublas_lt_table();
}
const Cudnn& Libraries::cudnn() {
  if (!test::fake_cudnn().present) sdk::fail(MINIINFER_UNSUPPORTED, "there is no cuDNN here");
  return test::fake_cudnn_table();
}
const Nvrtc& Libraries::nvrtc() { sdk::fail(MINIINFER_UNSUPPORTED, "there is no NVRTC here"); }

cublasLtContext* CUDADeviceContext::cublas_lt() { return nullptr; }
cudnnContext* CUDADeviceContext::cudnn() { return nullptr; }

}  // namespace miniinfer::cuda
