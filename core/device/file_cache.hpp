#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "miniinfer/status.hpp"

namespace miniinfer {

// Bytes by key in one folder, a file an entry. Files are replaced as a whole, so readers in other
// processes see the old entry or the new one; a damaged or foreign file is no entry. [any-thread]
class FileCache {
 public:
  // The folder is made when something is first written.
  explicit FileCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // NOT_FOUND without an entry.
  Result<std::vector<std::byte>> read(std::string_view key) const;
  // LIMIT_EXCEEDED beyond 1 GiB, UNAVAILABLE where the folder cannot be written.
  Status write(std::string_view key, std::span<const std::byte> data) const;

 private:
  std::filesystem::path file_of(std::string_view key) const;

  const std::filesystem::path folder_;
};

}  // namespace miniinfer
