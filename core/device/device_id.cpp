#include "core/device/device_id.hpp"

#include <algorithm>
#include <charconv>

#include "core/base/format.hpp"
#include "core/device/plugin_tables.hpp"

namespace miniinfer {
namespace {

constexpr std::size_t kMaxOrdinalDigits = 9;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alphanumeric(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_id_character(char c) { return c > ' ' && c < 0x7f && c != ','; }

}  // namespace

Result<DeviceId> parse_device_id(std::string_view text) {
  const Status bad(Code::InvalidArgument, "'" + printable(text) + "' is no device id",
                   "ids look like cpu, cpu:0 or cpu:<stable id>");
  const std::size_t colon = text.find(':');
  DeviceId id{text.substr(0, colon), std::nullopt, {}};
  if (!is_backend_name(id.backend)) return bad;
  if (colon == std::string_view::npos) {
    id.ordinal = 0;
    return id;
  }
  const std::string_view rest = text.substr(colon + 1);
  if (rest.empty() || !is_alphanumeric(rest.front()) ||
      !std::all_of(rest.begin(), rest.end(), is_id_character)) {
    return bad;
  }
  if (!std::all_of(rest.begin(), rest.end(), is_digit)) {
    id.stable_id = rest;
    return id;
  }
  if (rest.size() > kMaxOrdinalDigits || (rest.size() > 1 && rest.front() == '0')) return bad;
  int ordinal = 0;
  std::from_chars(rest.data(), rest.data() + rest.size(), ordinal);
  id.ordinal = ordinal;
  return id;
}

}  // namespace miniinfer
