#include "core/memory/failure_snapshot.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "core/base/format.hpp"
#include "core/base/log.hpp"
#include "core/memory/memory_settings.hpp"
#include "miniinfer/memory_snapshot.hpp"

namespace miniinfer {

std::string failure_snapshot_path(const std::string& wanted, const std::string& device, int pid) {
  std::string who = device;
  for (char& c : who) {
    if (c == ':' || c == '/') c = '-';
  }
  who += "-" + std::to_string(pid);
  struct stat found;
  const bool is_folder = ::stat(wanted.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
  if (wanted.ends_with('/') || is_folder) {
    return wanted + (wanted.ends_with('/') ? "" : "/") + "memory-" + who + ".pickle";
  }
  const std::size_t dot = std::min(wanted.rfind('.'), wanted.size());
  return wanted.substr(0, dot) + "-" + who + wanted.substr(dot);
}

Status with_failure_snapshot(Status failed, const Allocator& pool) {
  const std::string wanted = snapshot_setting();
  if (wanted.empty()) return failed;
  static std::atomic<bool> done{false};
  if (done.exchange(true)) return failed;
  const MemorySnapshot snapshot = pool.snapshot();
  const std::string path = failure_snapshot_path(wanted, snapshot.device, ::getpid());
  if (Status status = write_snapshot(snapshot, path); !status.ok()) {
    log(MINIINFER_LOG_WARN, "memory",
        "the snapshot of a failure: " + std::string(status.message()));
    return failed;
  }
  std::string hint(failed.hint());
  hint += (hint.empty() ? "" : "; ") + ("what lies where is in " + path);
  return Status(failed.code(), std::string(failed.message()), std::move(hint))
      .with_memory_report(failed.memory_report());
}

}  // namespace miniinfer
