#pragma once

#include <filesystem>
#include <string>

#include "miniinfer/status.hpp"

namespace miniinfer::command {

// The SHA-256 of a file's bytes (FIPS 180-4), as 64 hexadecimal digits.
Result<std::string> sha256_of_file(const std::filesystem::path& path);

}  // namespace miniinfer::command
