#include "miniinfer/sdk/plugin.hpp"
#include "plugins/cuda/backend.hpp"

MINIINFER_PLUGIN(cuda, miniinfer::cuda::Backend);
