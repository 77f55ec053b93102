#pragma once

#include "plugins/cuda/family.hpp"

namespace miniinfer::cuda {

extern const Family kAttention;

}  // namespace miniinfer::cuda
