#include "core/cpu/gemm.hpp"

#include "core/cpu/cpu_features.hpp"

namespace miniinfer::cpu {

const GemmTable& gemm() noexcept {
  static const GemmTable& table = []() -> const GemmTable& {
    const CpuFeatures& f = cpu_features();
    if (f.avx512) return gemm_avx512();
    if (f.avx2 && f.fma && f.f16c) return gemm_avx2();
    return gemm_baseline();
  }();
  return table;
}

}  // namespace miniinfer::cpu
