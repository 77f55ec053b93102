// The convolution kernels.

#include "tests/cuda/emulated.hpp"  // before the kernels

#include "plugins/cuda/kernels/conv_depthwise.cu"
#include "plugins/cuda/kernels/conv_depthwise_last.cu"
#include "plugins/cuda/kernels/conv_direct.cu"
#include "plugins/cuda/kernels/conv_pad.cu"
