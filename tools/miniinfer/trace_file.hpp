#pragma once

#include <filesystem>

#include "command.hpp"

namespace miniinfer::command {

// Writes a run as Chrome's trace events, which Perfetto (https://ui.perfetto.dev) and
// chrome://tracing show: a slice for each step, a row for each device.
Status write_trace(const std::filesystem::path& path, const Trace& trace, const std::string& model);

}  // namespace miniinfer::command
