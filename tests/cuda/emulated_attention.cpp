// The tensor core kernel of attention: a file of its own, since both have a launch_depth.

#include "tests/cuda/emulated.hpp"  // before the kernel

#include "plugins/cuda/kernels/attention_mma.cu"
