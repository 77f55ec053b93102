#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "miniinfer/data_type.hpp"

namespace miniinfer::command {

// What the front of an .npy says.
struct NpyHeader {
  TensorType type;
  bool fortran_order = false;
  std::size_t swap_unit = 0;  // bytes to reverse, again and again; 0: already little-endian
};

// The bytes that every .npy begins with: magic and version.
inline constexpr std::size_t kNpyMagicBytes = 8;
inline constexpr std::size_t kMaxNpyHeader = 64 << 10;

// From the magic: how many bytes hold the header's length.
Result<std::size_t> npy_length_bytes(std::span<const std::byte> magic);
// Those bytes as a number. LIMIT_EXCEEDED above kMaxNpyHeader.
Result<std::size_t> npy_header_bytes(std::span<const std::byte> length);
// The text after them: a Python dict of three literals.
Result<NpyHeader> parse_npy_header(std::string_view text);

// Everything before the elements of a little-endian tensor in C order.
Result<std::string> make_npy_header(const TensorType& type);

}  // namespace miniinfer::command
