#pragma once

#include <memory>
#include <string>

#include "core/memory/budget.hpp"
#include "core/memory/upstream.hpp"
#include "miniinfer/pool_allocator.hpp"

namespace miniinfer {

// A pool over what a device gives. `device` names it in messages; the budget, which may be null, is
// asked before the device is.
std::shared_ptr<PoolAllocator> make_pool(std::shared_ptr<MemoryUpstream> upstream,
                                         std::string device, const PoolOptions& options,
                                         std::shared_ptr<Budget> budget);

}  // namespace miniinfer
