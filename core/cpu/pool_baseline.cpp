#define MINIINFER_ISA_NAME "baseline"
#define MINIINFER_ISA_TABLE pool_baseline
#define MINIINFER_ISA_BYTES 16
#include "core/cpu/pool.inc"
