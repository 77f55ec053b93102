#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace miniinfer {

// printf into a std::string.
std::string format(const char* format, ...) __attribute__((format(printf, 1, 2)));

// "3.1 GiB", "812 B": at most one decimal, powers of 1024.
std::string format_bytes(std::uint64_t bytes);

// Text from a file or a user, safe to print: control characters and invalid UTF-8 as \xNN, at most
// `limit` bytes of it (then "..").
std::string printable(std::string_view text, std::size_t limit = 64);

}  // namespace miniinfer
