#include "core/base/format.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdarg>
#include <cstdio>

namespace miniinfer {
namespace {

// The length of the valid UTF-8 sequence at the front of `text`; 0 where there is none.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Encodings longer than they need be, surrogates, and what is beyond the last character.
  if (first == 0xe0 && byte(1) < 0xa0) return 0;
  if (first == 0xed && byte(1) >= 0xa0) return 0;
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) >= 0x90) return 0;
  if (first == 0xc2 && byte(1) < 0xa0) return 0;  // C1 control characters
  // Line separators, and marks that make a terminal show a line in another order.
  if (first == 0xe2 && byte(1) == 0x80 && (byte(2) >= 0xa8 && byte(2) <= 0xae)) return 0;
  if (first == 0xe2 && byte(1) == 0x81 && (byte(2) >= 0xa6 && byte(2) <= 0xa9)) return 0;
  return length;
}

}  // namespace

std::string format(const char* format, ...) {
  std::array<char, 256> buffer;
  va_list args;
  va_start(args, format);
  va_list again;
  va_copy(again, args);
  const int length = std::vsnprintf(buffer.data(), buffer.size(), format, args);
  va_end(args);
  std::string text;
  if (length > 0 && static_cast<std::size_t>(length) < buffer.size()) {
    text.assign(buffer.data(), static_cast<std::size_t>(length));
  } else if (length > 0) {
    text.resize(static_cast<std::size_t>(length));
    std::vsnprintf(text.data(), text.size() + 1, format, again);
  }
  va_end(again);
  return text;
}

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < 1024) return format("%u B", static_cast<unsigned>(bytes));
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return format("%.1f %s", value, kUnits[unit]);
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    const std::string piece =
        length > 0 ? std::string(text.substr(0, length))
                   : format("\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(text[0])));
    if (out.size() + piece.size() > limit) return out + "..";
    out += piece;
    text.remove_prefix(length > 0 ? length : 1);
  }
  return out;
}

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  constexpr std::string_view kUnits = "KMGT";
  const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string_view unit = text.substr(digits);
  unsigned shift = 0;
  if (!unit.empty() && unit != "B") {
    const std::size_t at = kUnits.find(unit.front());
    if (at == kUnits.npos || (unit.size() > 1 && unit.substr(1) != "iB")) return std::nullopt;
    shift = 10 * (static_cast<unsigned>(at) + 1);
  }
  const char* const end = text.data() + digits;
  std::uint64_t whole = 0;
  const auto [rest, error] = std::from_chars(text.data(), end, whole);
  if (error != std::errc() || whole >> (63 - shift) != 0) return std::nullopt;
  std::uint64_t bytes = whole << shift;
  if (rest == end) return bytes;
  double fraction = 0;
  const auto [last, wrong] = std::from_chars(rest, end, fraction);
  if (wrong != std::errc() || last != end) return std::nullopt;
  return bytes +
         static_cast<std::uint64_t>(fraction * static_cast<double>(std::uint64_t{1} << shift));
}

}  // namespace miniinfer
