#pragma once

// cuBLASLt as the backend uses it. A function that a kernel needs is one more line here.

#include <cublasLt.h>

// clang-format off
#define MINIINFER_CUBLAS_LT_FUNCTIONS(X) \
  X(cublasLtGetVersion)                  \
  X(cublasLtGetStatusName)               \
  X(cublasLtGetStatusString)             \
  X(cublasLtCreate)                      \
  X(cublasLtDestroy)                     \
  X(cublasLtMatmul)                      \
  X(cublasLtMatmulDescCreate)            \
  X(cublasLtMatmulDescDestroy)           \
  X(cublasLtMatmulDescSetAttribute)      \
  X(cublasLtMatrixLayoutCreate)          \
  X(cublasLtMatrixLayoutDestroy)         \
  X(cublasLtMatrixLayoutSetAttribute)    \
  X(cublasLtMatmulPreferenceCreate)      \
  X(cublasLtMatmulPreferenceDestroy)     \
  X(cublasLtMatmulPreferenceSetAttribute)\
  X(cublasLtMatmulAlgoGetHeuristic)      \
  X(cublasLtMatmulAlgoCheck)
// clang-format on

namespace miniinfer::cuda {

// Called as `lt.cublasLtMatmul(...)`; see Libraries::cublas_lt.
struct CublasLt {
#define MINIINFER_FUNCTION(name) decltype(&::name) name;
  MINIINFER_CUBLAS_LT_FUNCTIONS(MINIINFER_FUNCTION)
#undef MINIINFER_FUNCTION
};

}  // namespace miniinfer::cuda
