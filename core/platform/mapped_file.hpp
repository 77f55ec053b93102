#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>

#include "miniinfer/status.hpp"

namespace miniinfer {

// A regular file, mapped read-only. Move-only; the bytes live as long as it does. A file that
// shrinks while it is mapped ends the process when the lost part is read (SIGBUS): replace files by
// renaming.
class MappedFile {
 public:
  MappedFile() noexcept = default;
  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile();

  // NOT_FOUND for a file that is missing or cannot be opened, INVALID_ARGUMENT for what is no
  // regular file; never waits (a FIFO). An empty file gives no bytes.
  static Result<MappedFile> open(const std::filesystem::path& path);

  // A file beneath `folder` by a name that a hostile file may have chosen: no way up, no absolute
  // path, no symbolic link at any step, no second name (hard link). INVALID_ARGUMENT otherwise.
  static Result<MappedFile> open_beneath(const std::filesystem::path& folder,
                                         std::string_view name);

  std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  static Result<MappedFile> map(int descriptor, const std::string& label, bool single_link);
  std::span<const std::byte> bytes_;
};

}  // namespace miniinfer
