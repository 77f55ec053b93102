#include "miniinfer/sdk/plugin.hpp"
#include "plugins/fake/backend.hpp"

MINIINFER_PLUGIN(fake, miniinfer::fake::Backend);
