#pragma once

// cuBLASLt's descriptors, owned, and how its failures are told.

#include <cstdint>

#include "miniinfer/abi/op.h"
#include "miniinfer/sdk/error.hpp"
#include "plugins/cuda/cublas_lt.hpp"

namespace miniinfer::cuda {

inline void check_lt(const CublasLt& lt, cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  sdk::fail(status == CUBLAS_STATUS_ALLOC_FAILED ? MINIINFER_OUT_OF_MEMORY : MINIINFER_INTERNAL,
            "%s: %s: %s", call, lt.cublasLtGetStatusName(status),
            lt.cublasLtGetStatusString(status));
}

struct LtTypes {
  cudaDataType_t element;
  cublasComputeType_t compute;
  cudaDataType_t scale;
};

// The types of a product in `dtype`, with what `math` allows.
inline LtTypes lt_types(miniinfer_dtype dtype, std::uint32_t math) {
  switch (dtype) {
    case MINIINFER_FLOAT16:
      return {CUDA_R_16F, CUBLAS_COMPUTE_32F, CUDA_R_32F};
    case MINIINFER_BFLOAT16:
      return {CUDA_R_16BF, CUBLAS_COMPUTE_32F, CUDA_R_32F};
    case MINIINFER_FLOAT64:
      return {CUDA_R_64F, CUBLAS_COMPUTE_64F, CUDA_R_64F};
    default:
      return {CUDA_R_32F,
              (math & MINIINFER_MATH_TF32) != 0 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
              CUDA_R_32F};
  }
}

class LtLayout {
 public:
  LtLayout(const CublasLt& lt, cudaDataType_t type, std::int64_t rows, std::int64_t columns,
           std::int64_t ld, std::int64_t batch, std::int64_t step)
      : lt_(lt) {
    check_lt(lt,
             lt.cublasLtMatrixLayoutCreate(&layout_, type, static_cast<std::uint64_t>(rows),
                                           static_cast<std::uint64_t>(columns), ld),
             "cublasLtMatrixLayoutCreate");
    if (batch == 1) return;
    set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(batch));
    set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, step);
  }
  ~LtLayout() { lt_.cublasLtMatrixLayoutDestroy(layout_); }
  LtLayout(const LtLayout&) = delete;
  LtLayout& operator=(const LtLayout&) = delete;
  cublasLtMatrixLayout_t get() const { return layout_; }

 private:
  template <class T>
  void set(cublasLtMatrixLayoutAttribute_t attribute, T value) {
    check_lt(lt_, lt_.cublasLtMatrixLayoutSetAttribute(layout_, attribute, &value, sizeof value),
             "cublasLtMatrixLayoutSetAttribute");
  }

  const CublasLt& lt_;
  cublasLtMatrixLayout_t layout_ = nullptr;
};

class LtMatmul {
 public:
  LtMatmul(const CublasLt& lt, const LtTypes& types, bool transpose_first, bool transpose_second)
      : lt_(lt) {
    check_lt(lt, lt.cublasLtMatmulDescCreate(&descriptor_, types.compute, types.scale),
             "cublasLtMatmulDescCreate");
    if (transpose_first) set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    if (transpose_second) set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_T);
  }
  ~LtMatmul() { lt_.cublasLtMatmulDescDestroy(descriptor_); }
  LtMatmul(const LtMatmul&) = delete;
  LtMatmul& operator=(const LtMatmul&) = delete;
  cublasLtMatmulDesc_t get() const { return descriptor_; }

  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, T value) {
    check_lt(lt_, lt_.cublasLtMatmulDescSetAttribute(descriptor_, attribute, &value, sizeof value),
             "cublasLtMatmulDescSetAttribute");
  }

 private:
  const CublasLt& lt_;
  cublasLtMatmulDesc_t descriptor_ = nullptr;
};

class LtPreference {
 public:
  explicit LtPreference(const CublasLt& lt) : lt_(lt) {
    check_lt(lt, lt.cublasLtMatmulPreferenceCreate(&preference_), "cublasLtMatmulPreferenceCreate");
  }
  ~LtPreference() { lt_.cublasLtMatmulPreferenceDestroy(preference_); }
  LtPreference(const LtPreference&) = delete;
  LtPreference& operator=(const LtPreference&) = delete;
  cublasLtMatmulPreference_t get() const { return preference_; }

  template <class T>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, T value) {
    check_lt(lt_,
             lt_.cublasLtMatmulPreferenceSetAttribute(preference_, attribute, &value, sizeof value),
             "cublasLtMatmulPreferenceSetAttribute");
  }

 private:
  const CublasLt& lt_;
  cublasLtMatmulPreference_t preference_ = nullptr;
};

}  // namespace miniinfer::cuda
