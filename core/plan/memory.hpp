#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/graph/graph.hpp"
#include "core/plan/schedule.hpp"
#include "miniinfer/memory_planner.hpp"
#include "miniinfer/session.hpp"

namespace miniinfer {

// Where a value's bytes are during a run.
struct Slot {
  enum Place : std::uint8_t {
    None,      // an operand that was left out
    Arena,     // `offset` into the arena of `device`
    Constant,  // `index` into the graph's values
    Input,     // the caller's, `index` into the graph's inputs
    Output,    // the caller's, `index` into the graph's outputs
  } place = None;
  std::uint32_t device = 0;
  std::uint32_t index = 0;
  std::uint64_t offset = 0;
};

// The choice a device made for an item, as far as memory goes.
struct ItemMemory {
  std::uint64_t workspace_bytes = 0;
  std::uint64_t in_place = 0;   // as miniinfer_choice
  std::vector<ValueId> inputs;  // of the region
  std::vector<ValueId> outputs;
};

struct ArenaUse {
  std::uint64_t activations = 0;  // the arena's size without workspaces counted apart
  std::uint64_t workspace = 0;    // the largest workspace
  std::uint64_t bytes = 0;        // what a context allocates
  std::uint64_t lower_bound = 0;
  std::vector<ArenaBuffer> buffers;
};

struct MemoryLayout {
  std::vector<Slot> slots;       // by value
  std::vector<Slot> workspaces;  // by item
  std::vector<Slot> faults;      // by device: its miniinfer_fault
  std::vector<ArenaUse> arenas;  // by device
  // Outputs whose bytes are elsewhere (an input, a constant, another output) and must be copied at
  // the end of a run: output index, value.
  std::vector<std::pair<std::uint32_t, ValueId>> copied_outputs;
};

// Decides where every value lives: views share, in-place outputs take over a dying input, outputs
// are written straight into the caller's memory, everything else goes into one arena for each
// device.
Result<MemoryLayout> lay_out_memory(const Graph& graph, const Schedule& schedule,
                                    std::span<const ItemMemory> items,
                                    std::span<const OpenDevicePtr> devices);

}  // namespace miniinfer
