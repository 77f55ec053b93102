#pragma once

#include "plugins/cuda/family.hpp"

namespace miniinfer::cuda {

extern const Family kReduce;

}  // namespace miniinfer::cuda
