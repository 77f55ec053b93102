#pragma once

#include "core/device/backend_registry.hpp"
#include "core/passes/pass.hpp"

namespace miniinfer {

// An Evaluator that lowers the node and runs its kernels on an inline host device, one by one.
// UNSUPPORTED where the node has no lowering or the device refuses it. [any-thread]
Evaluator make_evaluator(OpenDevicePtr host);

}  // namespace miniinfer
