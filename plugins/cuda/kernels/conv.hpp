#pragma once

#include "plugins/cuda/family.hpp"

namespace miniinfer::cuda {

extern const Family kConv;
extern const Family kConvTranspose;

}  // namespace miniinfer::cuda
