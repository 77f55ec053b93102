#pragma once

#include "miniinfer/abi/ext/draft/graph_capture.h"

namespace miniinfer::cuda {

// The table of "miniinfer.graph_capture/1". [any-thread]
const miniinfer_graph_capture* graph_capture() noexcept;

}  // namespace miniinfer::cuda
