#pragma once

// NVRTC as the backend uses it. A function that a kernel needs is one more line here. What it makes
// is loaded with cudaLibraryLoadData and launched with cudaLaunchKernel.

#include <nvrtc.h>

// clang-format off
#define MINIINFER_NVRTC_FUNCTIONS(X)  \
  X(nvrtcVersion)                     \
  X(nvrtcGetErrorString)              \
  X(nvrtcGetNumSupportedArchs)        \
  X(nvrtcGetSupportedArchs)           \
  X(nvrtcCreateProgram)               \
  X(nvrtcDestroyProgram)              \
  X(nvrtcCompileProgram)              \
  X(nvrtcGetCUBINSize)                \
  X(nvrtcGetCUBIN)                    \
  X(nvrtcGetPTXSize)                  \
  X(nvrtcGetPTX)                      \
  X(nvrtcGetProgramLogSize)           \
  X(nvrtcGetProgramLog)
// clang-format on

namespace miniinfer::cuda {

// Called as `nvrtc.nvrtcCompileProgram(...)`; see Libraries::nvrtc.
struct Nvrtc {
#define MINIINFER_FUNCTION(name) decltype(&::name) name;
  MINIINFER_NVRTC_FUNCTIONS(MINIINFER_FUNCTION)
#undef MINIINFER_FUNCTION
};

}  // namespace miniinfer::cuda
