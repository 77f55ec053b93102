#pragma once

#include <string>

#include "miniinfer/allocator.hpp"

namespace miniinfer {

// Where the snapshots that MINIINFER_MEMORY_SNAPSHOT asks for go: "FOLDER/memory-fake-0-PID.pickle"
// for a folder, "oom-fake-0-PID.json" for oom.json.
std::string failure_snapshot_path(const std::string& wanted, const std::string& device, int pid);

// The status of a request that failed. The first time in this process that one does, and where the
// environment asks for it, the snapshot of the pool is written to a file that the hint names.
// Called without locks.
Status with_failure_snapshot(Status failed, const Allocator& pool);

}  // namespace miniinfer
