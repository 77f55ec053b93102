#pragma once

// What a program asked of an allocator, in order. Two kinds of text are read, as they are or packed
// by gzip:
//
//   a ID BYTES STREAM     a line for each allocation
//   f ID                  and for each that was given back
//
// and what RMM logs: a CSV file whose first line names the columns Action, Pointer, Size and
// Stream; others are passed over, as are failures that were recorded.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "miniinfer/status.hpp"

namespace miniinfer::command {

struct AllocationTrace {
  struct Event {
    std::uint64_t bytes = 0;   // also of one that gives back
    std::uint32_t block = 0;   // which; a number is used again when its block was given back
    std::uint16_t stream = 0;  // which
    bool takes = false;
  };
  std::vector<Event> events;
  std::uint32_t blocks = 0;   // as many as are alive at once
  std::uint16_t streams = 0;  // as many as are named
};

// As read_text, which see. INVALID_ARGUMENT for a line that cannot be read, takes what is live or
// gives back what is not; `where` becomes "FILE:LINE" then, and is the file otherwise.
Result<AllocationTrace> read_allocation_trace(const std::filesystem::path& path,
                                              std::string& where);

}  // namespace miniinfer::command
