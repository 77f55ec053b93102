#include "miniinfer/memory_snapshot.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/base/format.hpp"

namespace miniinfer {
namespace {

struct Format {
  std::string_view ending;
  Result<std::string> (*write)(const MemorySnapshot& snapshot);
};

constexpr Format kFormats[] = {
    {".pickle", to_memory_viz},
    {".json", to_trace_json},
    {".csv", to_rmm_csv},
};

}  // namespace

MemorySnapshot Allocator::snapshot() const {
  MemorySnapshot snapshot;
  snapshot.memory = info();
  snapshot.stats = stats();
  return snapshot;
}

Result<std::string> snapshot_file(const MemorySnapshot& snapshot, std::string_view path) {
  const auto known = std::find_if(std::begin(kFormats), std::end(kFormats),
                                  [&](const Format& one) { return path.ends_with(one.ending); });
  if (known != std::end(kFormats)) return known->write(snapshot);
  return Status(Code::InvalidArgument, "a memory snapshot in " + printable(path, 256),
                "the file's ending is .pickle, .json or .csv");
}

Status write_snapshot(const MemorySnapshot& snapshot, const std::string& path) {
  const Result<std::string> text = snapshot_file(snapshot, path);
  if (!text) return text.status();
  const std::string part = path + ".part";
  std::FILE* const file = std::fopen(part.c_str(), "wbe");
  bool written =
      file != nullptr && std::fwrite(text->data(), 1, text->size(), file) == text->size();
  if (file != nullptr) written = std::fclose(file) == 0 && written;
  if (written && std::rename(part.c_str(), path.c_str()) == 0) return {};
  const int error = errno;
  if (file != nullptr) std::remove(part.c_str());
  return {Code::InvalidArgument,
          "writing " + printable(path, 256) + ": " + std::string(std::strerror(error))};
}

}  // namespace miniinfer
