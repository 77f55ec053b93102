// The kernels that go with products.

#include "tests/cuda/emulated.hpp"  // before the kernel

#include "plugins/cuda/kernels/contract_integer.cu"
