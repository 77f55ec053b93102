#pragma once

// What became of every plugin file that was looked at.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/status.hpp"

namespace miniinfer {

enum class PluginState : std::int32_t {
  BuiltIn,   // part of the core
  Loaded,    // its table is in use
  Refused,   // and code, reason and hint say why
  Shadowed,  // an earlier file of the same name won
  Filtered,  // left out by MINIINFER_PLUGINS
};

MINIINFER_API std::string_view to_string(PluginState state) noexcept;  // "loaded"

struct PluginReport {
  std::string name;            // "cuda"; from the file's name where nothing better is known
  std::filesystem::path path;  // empty: built in
  std::string found_via;       // "MINIINFER_PLUGIN_PATH", "--plugin", "beside the library", ..
  PluginState state = PluginState::Refused;
  Code code = Code::Ok;  // why it was refused
  std::string reason;
  std::string hint;
  std::string version;             // the plugin's own
  std::string abi;                 // "v0.1"; empty: not known
  std::vector<std::string> notes;  // "group-writable", "not isolated", extra exports, ..
  std::vector<std::string> missing_libraries;
};

}  // namespace miniinfer
