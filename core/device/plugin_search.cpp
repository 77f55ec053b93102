#include "core/device/plugin_search.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "core/base/format.hpp"
#include "core/platform/environment.hpp"
#include "core/platform/shared_library.hpp"

namespace miniinfer {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "libminiinfer_";
constexpr std::string_view kSuffix = ".so";

void refuse(Candidate& candidate, Code code, std::string reason, std::string hint = {}) {
  candidate.load = false;
  candidate.report.state = PluginState::Refused;
  candidate.report.code = code;
  candidate.report.reason = std::move(reason);
  candidate.report.hint = std::move(hint);
}

// The walk over all places; what it knows so far decides about the next file.
class Search {
 public:
  explicit Search(const PluginSearch& world) : world_(world) {}

  FoundPlugins run() {
    for (const fs::path& place : world_.explicit_places) add_explicit(place);
    if (world_.plugin_path && !world_.privileged) {
      for (const std::string& element : split_list(*world_.plugin_path, ':')) {
        if (element.empty()) {
          add_installed();
        } else if (element.front() != '/') {
          found_.searched.push_back(printable(element, 256) +
                                    " (MINIINFER_PLUGIN_PATH: not absolute, passed over)");
        } else {
          add_folder(element, "MINIINFER_PLUGIN_PATH", true);
        }
      }
    } else {
      if (world_.plugin_path) {
        found_.searched.emplace_back("MINIINFER_PLUGIN_PATH is ignored: raised privileges");
      }
      add_installed();
    }
    return std::move(found_);
  }

 private:
  void add_explicit(const fs::path& place) {
    std::error_code error;
    if (fs::is_directory(place, error)) {
      add_folder(fs::absolute(place, error), "--plugin", true);
      return;
    }
    Candidate candidate = plugin_candidate(world_, place, "--plugin");
    found_.searched.push_back(printable(place.string(), 256));
    decide(candidate);
    found_.candidates.push_back(std::move(candidate));
  }

  void add_installed() {
    for (const fs::path& folder : installed_plugin_folders(world_)) {
      add_folder(folder, "beside the library", false);
    }
  }

  void add_folder(const fs::path& folder, const char* found_via, bool missing_matters) {
    std::error_code error;
    std::vector<fs::path> files;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      const std::string name = it->path().filename().string();
      if (name.starts_with(kPrefix) && name.ends_with(kSuffix)) files.push_back(it->path());
    }
    if (error && error.value() == ENOENT && !missing_matters) return;
    found_.searched.push_back(printable(folder.string(), 256) +
                              (error ? " (" + error.message() + ")" : ""));
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) {
      Candidate candidate = plugin_candidate(world_, file, found_via);
      decide(candidate);
      found_.candidates.push_back(std::move(candidate));
    }
  }

  // The first file of a name wins, whatever becomes of it later; one file counts once, whatever it
  // is called.
  void decide(Candidate& candidate) {
    struct stat info{};
    if (stat(candidate.report.path.c_str(), &info) == 0 &&
        !files_.insert({info.st_dev, info.st_ino}).second) {
      candidate.load = false;
      candidate.report.state = PluginState::Shadowed;
      candidate.report.reason = "the same file was found before";
      return;
    }
    if (!candidate.load) return;
    if (world_.filter && !world_.privileged) {
      const std::vector<std::string> names = split_list(*world_.filter, ',');
      if (std::find(names.begin(), names.end(), candidate.report.name) == names.end()) {
        candidate.load = false;
        candidate.report.state = PluginState::Filtered;
        candidate.report.reason = "MINIINFER_PLUGINS is " + printable(*world_.filter, 128);
        return;
      }
    }
    if (!names_.insert(candidate.report.name).second) {
      candidate.load = false;
      candidate.report.state = PluginState::Shadowed;
      candidate.report.reason = "an earlier file is called " + candidate.report.name + " too";
    }
  }

  const PluginSearch& world_;
  FoundPlugins found_;
  std::set<std::pair<dev_t, ino_t>> files_;
  std::set<std::string> names_;
};

Status check_owner_and_mode(const PluginSearch& world, const fs::path& path, uid_t core_owner,
                            std::vector<std::string>* notes) {
  struct stat info{};
  const std::string label = printable(path.string(), 256);
  if (stat(path.c_str(), &info) != 0) {
    return {Code::NotFound, label + ": " + std::strerror(errno)};
  }
  if (info.st_uid != 0 && info.st_uid != world.user && info.st_uid != core_owner) {
    return {Code::FailedPrecondition,
            format("%s belongs to user %u, whom nobody here trusts", label.c_str(), info.st_uid),
            "change its owner"};
  }
  // A sticky folder (/tmp) lets nobody replace another's file.
  const bool sticky = S_ISDIR(info.st_mode) && (info.st_mode & S_ISVTX) != 0;
  if ((info.st_mode & S_IWOTH) != 0 && !sticky) {
    return {Code::FailedPrecondition, label + " can be written by everybody", "chmod o-w it"};
  }
  if ((info.st_mode & S_IWGRP) != 0 && !sticky) {
    if (world.privileged) {
      return {Code::FailedPrecondition,
              label + " can be written by its group, and privileges are raised", "chmod g-w it"};
    }
    if (notes != nullptr) notes->push_back("group-writable: " + label);
  }
  return {};
}

}  // namespace

PluginSearch PluginSearch::of_process(std::vector<fs::path> explicit_places) {
  PluginSearch world;
  world.explicit_places = std::move(explicit_places);
  world.plugin_path = environment("MINIINFER_PLUGIN_PATH");
  world.filter = environment("MINIINFER_PLUGINS");
  world.core_file = SharedLibrary::file_of(reinterpret_cast<const void*>(&find_plugins));
#ifdef MINIINFER_LIBDIR
  world.libdir = MINIINFER_LIBDIR;
#endif
  world.user = geteuid();
  world.privileged = raised_privileges();
  return world;
}

FoundPlugins find_plugins(const PluginSearch& search) { return Search(search).run(); }

Candidate plugin_candidate(const PluginSearch& search, const fs::path& file,
                           std::string_view found_via) {
  Candidate candidate;
  PluginReport& report = candidate.report;
  report.found_via = found_via;
  report.name = plugin_name_of(file);
  std::error_code error;
  report.path = fs::canonical(file, error);
  if (error) {
    report.path = fs::absolute(file, error);
    refuse(candidate, Code::NotFound, "there is no such file");
    return candidate;
  }
  // A link is the plugin that it leads to, unless that is called otherwise (a version's number).
  if (const std::string name = plugin_name_of(report.path); !name.empty()) report.name = name;
  if (report.name.empty()) {
    report.name = printable(file.filename().string());
    refuse(candidate, Code::InvalidArgument,
           "a plugin's file is called libminiinfer_NAME.so, NAME of a-z, 0-9 and _");
    return candidate;
  }
  struct stat info{};
  if (stat(report.path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) {
    refuse(candidate, Code::InvalidArgument, "not a plugin: it is no regular file");
    return candidate;
  }
  if (Status trusted = check_trust(search, report.path, &report.notes); !trusted.ok()) {
    if (!search.trust_all) {
      refuse(candidate, trusted.code(), std::string(trusted.message()),
             std::string(trusted.hint()));
      return candidate;
    }
    report.notes.emplace_back("trusted by request: " + std::string(trusted.message()));
  }
  const std::vector<fs::path> installed = installed_plugin_folders(search);
  candidate.isolate = std::none_of(installed.begin(), installed.end(), [&](const fs::path& folder) {
    std::error_code ignored;
    return fs::equivalent(folder, report.path.parent_path(), ignored);
  });
  candidate.load = true;
  return candidate;
}

std::vector<fs::path> installed_plugin_folders(const PluginSearch& search) {
  if (search.core_file.empty()) return {};
  const fs::path beside = search.core_file.parent_path();
  std::vector<fs::path> folders = {beside / "plugins", beside / "miniinfer" / "plugins"};
  fs::path by_libdir = (beside / ".." / search.libdir / "miniinfer" / "plugins").lexically_normal();
  if (by_libdir != folders.back()) folders.push_back(std::move(by_libdir));
  return folders;
}

std::string plugin_name_of(const fs::path& file) {
  const std::string text = file.filename().string();
  if (text.size() <= kPrefix.size() + kSuffix.size() || !text.starts_with(kPrefix) ||
      !text.ends_with(kSuffix)) {
    return {};
  }
  std::string name = text.substr(kPrefix.size(), text.size() - kPrefix.size() - kSuffix.size());
  const bool good =
      name.size() < 48 && name[0] >= 'a' && name[0] <= 'z' &&
      std::all_of(
          name.begin(), name.end(),
          [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
  return good ? name : std::string();
}

Status check_trust(const PluginSearch& search, const fs::path& file,
                   std::vector<std::string>* notes) {
  uid_t core_owner = search.user;
  struct stat info{};
  if (!search.core_file.empty() && stat(search.core_file.c_str(), &info) == 0) {
    core_owner = info.st_uid;
  }
  if (Status status = check_owner_and_mode(search, file, core_owner, notes); !status.ok()) {
    return status;
  }
  return check_owner_and_mode(search, file.parent_path(), core_owner, notes);
}

}  // namespace miniinfer
