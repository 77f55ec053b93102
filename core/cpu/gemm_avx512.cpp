#define MINIINFER_ISA_NAME "avx512"
#define MINIINFER_ISA_TABLE gemm_avx512
#define MINIINFER_ISA_BYTES 64
#include "core/cpu/gemm.inc"
