#define MINIINFER_ISA_NAME "avx512"
#define MINIINFER_ISA_TABLE pool_avx512
#define MINIINFER_ISA_BYTES 64
#include "core/cpu/pool.inc"
