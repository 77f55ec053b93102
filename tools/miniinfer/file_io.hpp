#pragma once

// Files, with errors that name them.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "miniinfer/status.hpp"

namespace miniinfer::command {

// A regular file, open for reading. Never waits on a FIFO or a device.
class InputFile {
 public:
  static Result<InputFile> open(const std::filesystem::path& path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;
  ~InputFile();

  std::uint64_t size() const { return size_; }
  // All of `out`, or an error: INVALID_ARGUMENT where the file ends before.
  Status read_at(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  InputFile(int fd, std::uint64_t size) : fd_(fd), size_(size) {}
  int fd_;
  std::uint64_t size_;
};

// A file being written: under another name in the same folder until commit(), and gone without it.
// What is no regular file (/dev/stdout) is written in place.
class OutputFile {
 public:
  static Result<OutputFile> create(const std::filesystem::path& path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  Status write(std::span<const std::byte> bytes);
  Status write(const std::string& bytes) { return write(std::as_bytes(std::span(bytes))); }
  Status commit();

 private:
  OutputFile(int fd, std::filesystem::path path, std::string temporary)
      : fd_(fd), path_(std::move(path)), temporary_(std::move(temporary)) {}
  int fd_;
  std::filesystem::path path_;
  std::string temporary_;  // empty: written in place
};

// The whole of a file.
Status write_file(const std::filesystem::path& path, const std::string& bytes);

}  // namespace miniinfer::command
