#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "miniinfer/export.hpp"

namespace miniinfer {

// Text from a file or a user, safe to print: control characters, marks that reorder a line, and
// invalid UTF-8 as \xNN, at most `limit` bytes of it (then ".."). Names that a Status mentions in
// its message have been through it; those in its nodes have not.
MINIINFER_API std::string printable(std::string_view text, std::size_t limit = 64);

}  // namespace miniinfer
