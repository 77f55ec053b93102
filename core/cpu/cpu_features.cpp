#include "core/cpu/cpu_features.hpp"

#include <cpuid.h>

#include <cstdlib>
#include <string_view>

namespace miniinfer::cpu {
namespace {

struct Leaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf leaf(unsigned number, unsigned sub) {
  Leaf result;
  if (__get_cpuid_count(number, sub, &result.eax, &result.ebx, &result.ecx, &result.edx) == 0) {
    return {};
  }
  return result;
}

// AMX needs the system to save its state: bits 17 and 18 of XCR0.
bool system_saves_tiles() {
  if ((leaf(1, 0).ecx & bit_OSXSAVE) == 0) return false;
  unsigned low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & 0x60000u) == 0x60000u;
}

CpuFeatures detect() {
  CpuFeatures f;
  __builtin_cpu_init();
  f.avx2 = __builtin_cpu_supports("avx2");
  f.fma = f.avx2 && __builtin_cpu_supports("fma");
  f.f16c = f.avx2 && (leaf(1, 0).ecx & bit_F16C) != 0;
  f.avx512 = f.fma && f.f16c && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
  f.avx512_vnni = f.avx512 && __builtin_cpu_supports("avx512vnni");
  f.avx512_bf16 = f.avx512 && (leaf(7, 1).eax & (1u << 5)) != 0;
  if (f.avx512 && system_saves_tiles()) {
    const unsigned edx = leaf(7, 0).edx;
    f.amx_tile = (edx & (1u << 24)) != 0;
    f.amx_bf16 = f.amx_tile && (edx & (1u << 22)) != 0;
    f.amx_int8 = f.amx_tile && (edx & (1u << 25)) != 0;
  }
  const char* wish = std::getenv("MINIINFER_CPU_ISA");
  const std::string_view isa = wish == nullptr ? "" : wish;
  if (isa == "baseline") return {};
  if (isa == "avx2") {
    f.avx512 = f.avx512_vnni = f.avx512_bf16 = f.amx_tile = f.amx_bf16 = f.amx_int8 = false;
  } else if (isa == "avx512") {
    f.amx_tile = f.amx_bf16 = f.amx_int8 = false;
  }
  return f;
}

}  // namespace

const CpuFeatures& cpu_features() noexcept {
  static const CpuFeatures features = detect();
  return features;
}

const char* cpu_isa_name() noexcept {
  const CpuFeatures& f = cpu_features();
  if (f.avx512) return "avx512";
  return f.avx2 && f.fma && f.f16c ? "avx2" : "baseline";
}

}  // namespace miniinfer::cpu
