#pragma once

#include <cstddef>
#include <span>

namespace miniinfer::command {

// Files of examples/digits, inside the program (tools/miniinfer/embed.py).
std::span<const std::byte> embedded_digits_model();
std::span<const std::byte> embedded_digits_images();
std::span<const std::byte> embedded_digits_expected();

}  // namespace miniinfer::command
