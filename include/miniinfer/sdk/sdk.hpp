#pragma once

// Everything a backend is written with. Needs a C++20 compiler and these headers; links nothing.
//
// Derive from sdk::Backend (lists and opens devices), sdk::Device (says what it can run and makes
// kernels), sdk::Allocator, sdk::Kernel and, for a device that works late, sdk::Stream and
// sdk::Event. Then write MINIINFER_PLUGIN(name, YourBackend). Functions fail by throwing
// sdk::Error. miniinfer/sdk/reference/ has slow kernels for everything a backend must serve.

#include "miniinfer/sdk/allocator.hpp"
#include "miniinfer/sdk/backend.hpp"
#include "miniinfer/sdk/choices.hpp"
#include "miniinfer/sdk/data_type.hpp"
#include "miniinfer/sdk/device.hpp"
#include "miniinfer/sdk/error.hpp"
#include "miniinfer/sdk/host.hpp"
#include "miniinfer/sdk/kernel.hpp"
#include "miniinfer/sdk/op_set.hpp"
#include "miniinfer/sdk/plugin.hpp"
#include "miniinfer/sdk/region.hpp"
#include "miniinfer/sdk/stream.hpp"
#include "miniinfer/sdk/versioned.hpp"
