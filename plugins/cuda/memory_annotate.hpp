#pragma once

#include "miniinfer/abi/ext/draft/memory_annotate.h"

namespace miniinfer::cuda {

// The table of "miniinfer.memory_annotate/1". [any-thread]
const miniinfer_memory_annotate* memory_annotate() noexcept;

}  // namespace miniinfer::cuda
