#pragma once

#include <memory>
#include <string>

#include "core/memory/pool/make_pool.hpp"

namespace miniinfer {

// As make_pool. Where the options ask for it and the device listens, every block is announced to
// the device while it is in use: the driver's pieces are heaps, so memory is not mapped, and blocks
// are regions in them. A block that comes back is waited for, because a tool would take the work in
// flight that still uses it for an error; one that comes back while its stream is recorded stays a
// region as long as the graph.
std::shared_ptr<PoolAllocator> make_announced_pool(std::shared_ptr<MemoryUpstream> upstream,
                                                   std::string device, PoolOptions options,
                                                   std::shared_ptr<Budget> budget);

}  // namespace miniinfer
