#include "plugins/cuda/system.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace miniinfer::cuda {
namespace {

constexpr std::size_t kMostBytes = 256u << 10;

}  // namespace

System System::of_process() {
  return {"", [](const char* name) -> const char* { return std::getenv(name); }};
}

std::optional<std::string> System::read(const std::string& path) const {
  const int file = open((root + path).c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  std::string text;
  char block[4096];
  for (ssize_t got = 0;
       text.size() < kMostBytes && (got = ::read(file, block, sizeof block)) > 0;) {
    text.append(block, static_cast<std::size_t>(got));
  }
  close(file);
  return text;
}

std::vector<std::string> System::list(const std::string& path) const {
  std::vector<std::string> names;
  DIR* folder = opendir((root + path).c_str());
  if (folder == nullptr) return names;
  while (const dirent* entry = readdir(folder)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(folder);
  std::sort(names.begin(), names.end());
  return names;
}

bool System::exists(const std::string& path) const {
  return access((root + path).c_str(), F_OK) == 0;
}

std::string System::target(const std::string& path) const {
  char text[512];
  const ssize_t length = readlink((root + path).c_str(), text, sizeof text);
  return length <= 0 ? std::string() : std::string(text, static_cast<std::size_t>(length));
}

}  // namespace miniinfer::cuda
