#define MINIINFER_ISA_NAME "avx2"
#define MINIINFER_ISA_TABLE pool_avx2
#define MINIINFER_ISA_BYTES 32
#include "core/cpu/pool.inc"
