#pragma once

// As much of ZIP as an .npz needs: stored and deflated members of one file below 4 GiB.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "file_io.hpp"

namespace miniinfer::command {

struct ZipMember {
  std::string name;
  std::uint32_t crc = 0;
  std::uint64_t packed = 0;  // bytes in the archive
  std::uint64_t bytes = 0;   // bytes of the member
  std::uint64_t offset = 0;  // of its local header
  bool deflated = false;
};

// The members, in the order of the directory. INVALID_ARGUMENT for what is no archive, names that
// are there twice or climb ("../"), members that overlap; UNSUPPORTED for encryption, ZIP64 and
// other methods; LIMIT_EXCEEDED where they unpack to more than 1 GiB and 100 times the file.
Result<std::vector<ZipMember>> read_zip_directory(const InputFile& file);

// Reads one member from front to back. Sizes and checksum are verified at its end.
class ZipReader {
 public:
  static Result<ZipReader> open(const InputFile& file, const ZipMember& member);
  ZipReader(ZipReader&&) noexcept;
  ZipReader& operator=(ZipReader&&) = delete;
  ~ZipReader();

  Status read(std::span<std::byte> out);
  // INVALID_ARGUMENT unless all was read and the checksum is right.
  Status finish();

 private:
  struct Impl;
  explicit ZipReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Writes members that are not compressed.
class ZipWriter {
 public:
  explicit ZipWriter(OutputFile& file) : file_(file) {}
  // The member is the two parts in a row.
  Status add(const std::string& name, std::span<const std::byte> head,
             std::span<const std::byte> tail);
  Status finish();

 private:
  OutputFile& file_;
  std::uint64_t offset_ = 0;
  std::string directory_;
  std::uint32_t count_ = 0;
};

}  // namespace miniinfer::command
