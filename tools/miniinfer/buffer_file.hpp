#pragma once

// Buffers with lifetimes as MiniMalloc's benchmarks keep them: a CSV file whose first line names
// the columns id, lower, upper, size and, if it likes, alignment, in any order; others are passed
// over. A buffer is alive from lower up to, without, upper.

#include <filesystem>
#include <string>
#include <vector>

#include "miniinfer/memory_planner.hpp"

namespace miniinfer::command {

struct BufferList {
  std::vector<std::string> ids;
  std::vector<PlanBuffer> buffers;
};

// As read_text, which see; INVALID_ARGUMENT names the line.
Result<BufferList> read_buffers(const std::filesystem::path& path);

// With a column for the offsets, where there are any.
std::string buffers_text(const BufferList& list, std::span<const std::uint64_t> offsets = {});

}  // namespace miniinfer::command
