#pragma once

#include "plugins/cuda/family.hpp"

namespace miniinfer::cuda {

extern const Family kTopK;

}  // namespace miniinfer::cuda
