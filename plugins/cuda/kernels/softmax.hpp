#pragma once

#include "plugins/cuda/family.hpp"

namespace miniinfer::cuda {

extern const Family kSoftmax;

}  // namespace miniinfer::cuda
