#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "miniinfer/text.hpp"  // printable

namespace miniinfer {

// printf into a std::string.
std::string format(const char* format, ...) __attribute__((format(printf, 1, 2)));

// "3.1 GiB", "812 B": at most one decimal, powers of 1024.
std::string format_bytes(std::uint64_t bytes);

}  // namespace miniinfer
