#pragma once

// What lies where in an allocator's memory, as data and as files that tools open.
//
// Allocator::snapshot() takes one. A pool tells its segments and the blocks that tile them; a
// tracker around it adds who asked for a block and how much, and the events it has kept; over
// memory without a pool each block in use is a segment of its own.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/allocator.hpp"
#include "miniinfer/pool_allocator.hpp"
#include "miniinfer/tracking_allocator.hpp"

namespace miniinfer {

struct MemorySnapshot {
  enum class State {
    Active,       // in use
    PendingFree,  // given back, and waiting for work that was queued
    Inactive,     // free
  };

  struct Block {
    std::uint64_t offset = 0;     // in the segment
    std::uint64_t bytes = 0;      // as cut
    std::uint64_t requested = 0;  // as asked for; 0 of what is not in use
    State state = State::Inactive;
    std::uint64_t stream = 0;  // who asked for it, or used it last; 0: not known, or nobody
    std::string tag;
  };

  // Memory without a gap, tiled by its blocks.
  struct Segment {
    std::uint64_t address = 0;
    std::uint64_t bytes = 0;
    std::uint64_t handle = 0;  // where it begins, as a miniinfer::Block has it
    std::uint64_t offset = 0;
    Lifetime lifetime = Lifetime::Transient;
    std::vector<Block> blocks;  // by offset
  };

  std::string device;  // "cuda:0"; "cuda:0/pinned"; empty where it is not known
  // handle + offset is an address. Where it is not, and the host has no pointer either, addresses
  // are made up: each handle gets a terabyte of its own.
  bool flat_address = true;
  MemoryInfo memory;  // of the device
  MemoryStats stats;
  PoolStats pool;  // zeros where there is none
  std::vector<Segment> segments;
  std::vector<MemoryEvent> events;
};

// A pickle that https://pytorch.org/memory_viz and torch.cuda._memory_viz read. INVALID_ARGUMENT
// for blocks that do not tile their segment, or addresses further apart than JavaScript can tell
// (2^53).
MINIINFER_API Result<std::string> to_memory_viz(const MemorySnapshot& snapshot);
// A trace that https://ui.perfetto.dev and chrome://tracing show: bytes in use over time, and a
// slice for each block. Without events there is one moment to see.
MINIINFER_API Result<std::string> to_trace_json(const MemorySnapshot& snapshot);
// The events as RMM logs them: Thread,Time,Action,Pointer,Size,Stream, times in UTC.
MINIINFER_API Result<std::string> to_rmm_csv(const MemorySnapshot& snapshot);

// One of these, as the file's ending says: .pickle, .json, .csv. INVALID_ARGUMENT for another.
MINIINFER_API Result<std::string> snapshot_file(const MemorySnapshot& snapshot,
                                                std::string_view path);
// The same into the file, which is there when it is whole. INVALID_ARGUMENT where it cannot be
// written.
MINIINFER_API Status write_snapshot(const MemorySnapshot& snapshot, const std::string& path);

}  // namespace miniinfer
