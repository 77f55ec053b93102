#pragma once

// The vendor's libraries that a kernel may need, opened when first asked for and never before: each
// costs tens of milliseconds, and a machine may have none of them.

#include <memory>
#include <string>

namespace miniinfer::cuda {

struct CublasLt;  // tables of function pointers: cublas_lt.hpp, cudnn.hpp, nvrtc.hpp
struct Cudnn;
struct Nvrtc;

class Libraries {
 public:
  static Libraries& instance();

  // Each throws sdk::Error UNSUPPORTED with a sentence that lists every place tried (and, where one
  // was found that is too old, its version). The answer is remembered. [any-thread]
  const CublasLt& cublas_lt();
  const Cudnn& cudnn();
  const Nvrtc& nvrtc();

 private:
  Libraries();
  ~Libraries() = delete;  // lives as long as the process
  struct State;
  State* state_;
};

}  // namespace miniinfer::cuda
