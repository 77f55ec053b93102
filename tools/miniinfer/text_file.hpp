#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/status.hpp"

namespace miniinfer::command {

// What a text file says; one that gzip packed is unpacked, whatever it is called. NOT_FOUND or
// FAILED_PRECONDITION as InputFile, LIMIT_EXCEEDED for more than `most` bytes of text,
// INVALID_ARGUMENT where what was packed is damaged or cut off.
Result<std::string> read_text(const std::filesystem::path& path, std::uint64_t most);

std::vector<std::string_view> split(std::string_view text, char by);

// Lines of a text, counted from 1, without their ends.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}
  // The next line that is not empty, or false.
  bool next(std::string_view& line);
  std::size_t number() const { return number_; }

 private:
  std::string_view rest_;
  std::size_t number_ = 0;
};

}  // namespace miniinfer::command
