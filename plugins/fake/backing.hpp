#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace miniinfer::fake {

// What memory holds before anybody wrote it: bytes that make NaN in every float type.
inline constexpr std::byte kFresh{0xFF};

// Which pages of a piece of memory hold something. The others get kFresh when they are first used,
// so that memory nobody uses costs the host nothing.
class Pages {
 public:
  explicit Pages(std::uint64_t bytes) : bytes_(bytes) {}
  // Makes [offset, offset + bytes) of the piece at `memory` hold something.
  void prepare(std::byte* memory, std::uint64_t offset, std::uint64_t bytes);
  bool untouched() const { return touched_.empty(); }

 private:
  std::uint64_t bytes_;
  std::vector<bool> touched_;
};

// Where pieces keep their contents while they are mapped here and there: a file in memory, made
// when it is first needed. Guarded by its owner.
class BackingFile {
 public:
  BackingFile() = default;
  BackingFile(const BackingFile&) = delete;
  ~BackingFile();

  // Addresses that nobody can touch. Throws sdk::Error(OUT_OF_MEMORY), as do all.
  static std::byte* reserve(std::uint64_t bytes);
  static void release(std::byte* memory, std::uint64_t bytes);
  // A place in the file.
  std::uint64_t take(std::uint64_t bytes);
  void drop(std::uint64_t place, std::uint64_t bytes);
  // Puts a place of the file at an address, and takes it from there.
  void map(std::byte* memory, std::uint64_t place, std::uint64_t bytes) const;
  static void unmap(std::byte* memory, std::uint64_t bytes);

 private:
  int file_ = -1;
  std::uint64_t end_ = 0;
};

}  // namespace miniinfer::fake
