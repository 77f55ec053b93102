#pragma once

namespace miniinfer::cpu {

// What this processor, and the system on it, can run. Each field implies nothing about the others
// but this: avx512 means F, BW, DQ and VL together, and is only set with avx2.
struct CpuFeatures {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool avx512 = false;
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool amx_tile = false;  // the system's permission has still to be asked for
  bool amx_bf16 = false;
  bool amx_int8 = false;
};

// Looked up once. MINIINFER_CPU_ISA=baseline|avx2|avx512 takes features away, and never adds any;
// any other value is as if it were not set. [any-thread]
const CpuFeatures& cpu_features() noexcept;

// "baseline", "avx2" or "avx512": the widest set the tables are compiled for. [any-thread]
const char* cpu_isa_name() noexcept;

}  // namespace miniinfer::cpu
