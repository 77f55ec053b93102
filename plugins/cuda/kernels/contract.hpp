#pragma once

#include "plugins/cuda/family.hpp"

namespace miniinfer::cuda {

extern const Family kContract;

}  // namespace miniinfer::cuda
