// A library of CUDA 12's time: all the functions that are asked for, and a version that will not
// do. Compiled once for each library; which one, the build says.

#include <cstddef>

#if defined(OLD_CUBLAS_LT)
#include "plugins/cuda/cublas_lt.hpp"
#define FUNCTIONS MINIINFER_CUBLAS_LT_FUNCTIONS
#elif defined(OLD_CUDNN)
#include "plugins/cuda/cudnn.hpp"
#define FUNCTIONS MINIINFER_CUDNN_FUNCTIONS
#else
#include "plugins/cuda/nvrtc.hpp"
#define FUNCTIONS MINIINFER_NVRTC_FUNCTIONS
#endif

namespace {

#if defined(OLD_CUBLAS_LT)
std::size_t answer(int*, int*) { return 120401; }
#elif defined(OLD_CUDNN)
std::size_t answer(int*, int*) { return 8907; }
#else
std::size_t answer(int* major, int* minor) {
  *major = 12;
  *minor = 4;
  return 0;
}
#endif

}  // namespace

// Under the library's name, whatever its header says of the type: only the version is called.
#define OLD_FUNCTION(name)                                      \
  extern "C" std::size_t old_##name(int* a, int* b) asm(#name); \
  std::size_t old_##name(int* a, int* b) { return answer(a, b); }
FUNCTIONS(OLD_FUNCTION)
