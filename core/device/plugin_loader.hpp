#pragma once

// From a file to its table: pre-flight, note, child process, dlopen, entry call, validation. Calls
// nothing of the plugin but its entry function; the caller probes and registers.

#include <chrono>
#include <cstdint>
#include <filesystem>

#include "core/device/plugin_search.hpp"
#include "miniinfer/abi/plugin.h"
#include "miniinfer/plugin.hpp"

namespace miniinfer {

struct LoaderOptions {
  // The helper that opens a file first; empty: there is none, and reports say "not isolated".
  std::filesystem::path helper;
  // Where verdicts of the helper are kept, by file identity; empty: nowhere.
  std::filesystem::path cache;
  std::chrono::milliseconds deadline{10000};  // of the helper, for one file
  std::uint32_t host_min = MINIINFER_ABI_MINOR;
  std::uint32_t host_max = MINIINFER_ABI_MINOR;

  // The helper of this process (MINIINFER_PROBE, or by place), and what was asked for.
  static LoaderOptions of_process(const PluginSearch& search, std::filesystem::path cache);
};

struct LoadedPlugin {
  PluginReport report;                        // Loaded, or Refused with code, reason and hint
  const miniinfer_plugin_api* api = nullptr;  // null unless Loaded; lives as long as the process
};

// A candidate whose `load` is false comes back as it is. The library stays in the process, also
// where its entry refuses. [loader]
LoadedPlugin load_plugin(const Candidate& candidate, const LoaderOptions& options);

}  // namespace miniinfer
