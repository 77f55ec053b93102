#pragma once

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "core/device/plugin_loader.hpp"
#include "core/device/plugin_search.hpp"

namespace miniinfer::testing {

namespace fs = std::filesystem;

inline fs::path build_folder() {
  const char* folder = std::getenv("MINIINFER_BUILD");
  REQUIRE_MESSAGE(folder != nullptr, "MINIINFER_BUILD names the build folder");
  return folder;
}
inline fs::path probe_helper() { return build_folder() / "tools" / "probe" / "probe"; }
inline fs::path odd_file(const std::string& variant) {
  return build_folder() / "tests" / "loader" / ("libodd_" + variant + ".so");
}

// A temporary folder that nobody else can write.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "miniinfer_loader_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = fs::canonical(name);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  const fs::path& path() const { return path_; }
  fs::path sub(const std::string& name) const {
    fs::create_directories(path_ / name);
    chmod((path_ / name).c_str(), 0755);
    return path_ / name;
  }
  // A file with these bytes and mode 0644.
  fs::path write(const std::string& name, std::span<const char> bytes) const {
    const fs::path file = path_ / name;
    std::ofstream(file, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    chmod(file.c_str(), 0644);
    return file;
  }
  fs::path copy(const fs::path& from, const std::string& name) const {
    fs::copy_file(from, path_ / name);
    chmod((path_ / name).c_str(), 0644);
    return path_ / name;
  }

 private:
  fs::path path_;
};

inline std::vector<char> bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  REQUIRE(in.good());
  return {std::istreambuf_iterator<char>(in), {}};
}

// A world in which the core lies in `prefix`/lib.
inline PluginSearch world_at(const fs::path& prefix) {
  PluginSearch world;
  fs::create_directories(prefix / "lib");
  world.core_file = prefix / "lib" / "libminiinfer.so";
  std::ofstream(world.core_file) << "the core";
  world.user = geteuid();
  return world;
}

inline LoaderOptions with_helper() {
  LoaderOptions options;
  options.helper = probe_helper();
  options.deadline = std::chrono::seconds(10);
  return options;
}

}  // namespace miniinfer::testing
