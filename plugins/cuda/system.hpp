#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace miniinfer::cuda {

// What probing may look at: files below a folder that stands for "/", and environment variables.
struct System {
  std::string root;  // "" for the real one
  std::function<const char*(const char* name)> variable;

  static System of_process();

  // Paths begin with a slash. Nothing here opens a device or waits for one.
  std::optional<std::string> read(const std::string& path) const;  // at most 256 KiB
  std::vector<std::string> list(const std::string& path) const;    // names, sorted
  bool exists(const std::string& path) const;
  std::string target(const std::string& path) const;  // of a link; empty where it is none
};

}  // namespace miniinfer::cuda
