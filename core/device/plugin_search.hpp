#pragma once

// Which files may be plugins, in the order in which they count, and why each of the others is not
// loaded. Reads folders and file attributes, never a file's content, and runs nothing.

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/plugin.hpp"

namespace miniinfer {

// One file that was found.
struct Candidate {
  // name, path (canonical), found_via and notes; where the file is not to be loaded, also the state
  // (Refused, Shadowed, Filtered), code, reason and hint.
  PluginReport report;
  bool load = false;    // nothing speaks against the file so far
  bool isolate = true;  // not in the installed folder: a child process opens it first
};

// What the search depends on, so that a test can make a world of its own.
struct PluginSearch {
  std::vector<std::filesystem::path> explicit_places;  // files and folders the user named
  std::optional<std::string> plugin_path;              // MINIINFER_PLUGIN_PATH; none: not set
  std::optional<std::string> filter;                   // MINIINFER_PLUGINS; none: not set
  std::filesystem::path core_file;                     // the file that holds the core, canonical
  std::string libdir = "lib";                          // the installed libdir below its prefix
  uid_t user = 0;                                      // the effective user
  bool privileged = false;                             // the process runs with raised privileges
  bool trust_all = false;                              // the user's override of ownership and mode

  // The world of this process.
  static PluginSearch of_process(std::vector<std::filesystem::path> explicit_places);
};

struct FoundPlugins {
  std::vector<Candidate> candidates;  // at most one of a name has `load`
  std::vector<std::string> searched;  // each place, and what was wrong with it
};

FoundPlugins find_plugins(const PluginSearch& search);

// One file by its path, whatever the filter says.
Candidate plugin_candidate(const PluginSearch& search, const std::filesystem::path& file,
                           std::string_view found_via);

// The folders that are searched where nobody says otherwise, best first.
std::vector<std::filesystem::path> installed_plugin_folders(const PluginSearch& search);

// "fake" of "libminiinfer_fake.so"; empty where the file is not named like that.
std::string plugin_name_of(const std::filesystem::path& file);

// Ok where only root, the user and the core's owner can have written the file and its folder. What
// is tolerated with a warning goes to `notes`.
Status check_trust(const PluginSearch& search, const std::filesystem::path& file,
                   std::vector<std::string>* notes);

}  // namespace miniinfer
