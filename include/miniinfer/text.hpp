#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "miniinfer/export.hpp"

namespace miniinfer {

// Text from a file or a user, safe to print: control characters, marks that reorder a line, and
// invalid UTF-8 as \xNN, at most `limit` bytes of it (then ".."). Names that a Status mentions in
// its message have been through it; those in its nodes have not.
MINIINFER_API std::string printable(std::string_view text, std::size_t limit = 64);

// "512", "1.5GiB", "64M": a number of bytes with or without a unit, powers of 1024. Nothing where
// it is none, or does not fit in 63 bits.
MINIINFER_API std::optional<std::uint64_t> parse_bytes(std::string_view text);

}  // namespace miniinfer
