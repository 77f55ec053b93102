#define MINIINFER_ISA_NAME "avx512"
#define MINIINFER_ISA_TABLE primitives_avx512
#define MINIINFER_ISA_BYTES 64
#include "core/cpu/primitives.inc"
