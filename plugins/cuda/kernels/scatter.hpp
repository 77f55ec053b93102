#pragma once

#include "plugins/cuda/family.hpp"

namespace miniinfer::cuda {

extern const Family kScatter;

}  // namespace miniinfer::cuda
