#pragma once

#include "plugins/cuda/family.hpp"

namespace miniinfer::cuda {

extern const Family kNonZero;

}  // namespace miniinfer::cuda
