#include "core/cpu/primitives.hpp"

#include "core/cpu/cpu_features.hpp"

namespace miniinfer::cpu {

const PrimitiveTable& primitives() noexcept {
  static const PrimitiveTable& table = []() -> const PrimitiveTable& {
    const CpuFeatures& f = cpu_features();
    if (f.avx512) return primitives_avx512();
    if (f.avx2 && f.fma && f.f16c) return primitives_avx2();
    return primitives_baseline();
  }();
  return table;
}

}  // namespace miniinfer::cpu
