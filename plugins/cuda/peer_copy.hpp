#pragma once

#include "miniinfer/abi/ext/draft/peer_copy.h"

namespace miniinfer::cuda {

// The table of "miniinfer.peer_copy/1". [any-thread]
const miniinfer_peer_copy* peer_copy() noexcept;

}  // namespace miniinfer::cuda
