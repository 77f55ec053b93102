#pragma once

// The one way in which a CUDA runtime call fails here.

#include <cuda_runtime_api.h>

#include "miniinfer/sdk/error.hpp"

namespace miniinfer::cuda {

// What the caller can do about a CUDA error: OUT_OF_MEMORY, UNAVAILABLE (no driver, no device),
// DEVICE_LOST (the context is broken for good), INVALID_ARGUMENT or INTERNAL.
miniinfer_code code_of(cudaError_t error) noexcept;

// Whether every later call on the device's context will fail too.
bool is_sticky(cudaError_t error) noexcept;

// Clears the thread's last error, tells the host "<call>: <name>: <text>" and returns the code.
miniinfer_code report(cudaError_t error, const char* call) noexcept;

// As report, thrown.
[[noreturn]] void raise(cudaError_t error, const char* call);

}  // namespace miniinfer::cuda

// The status of a call, as a miniinfer_code; for functions that must not throw.
#define CUDA_CHECK(call)                                                                         \
  ([&]() noexcept -> miniinfer_code {                                                            \
    const cudaError_t cuda_check_error = (call);                                                 \
    return cuda_check_error == cudaSuccess ? MINIINFER_OK                                        \
                                           : ::miniinfer::cuda::report(cuda_check_error, #call); \
  }())

// Throws sdk::Error; for constructors and whatever the SDK's guard surrounds.
#define CUDA_CHECK_THROW(call)                           \
  do {                                                   \
    const cudaError_t cuda_check_error = (call);         \
    if (cuda_check_error != cudaSuccess) {               \
      ::miniinfer::cuda::raise(cuda_check_error, #call); \
    }                                                    \
  } while (false)
