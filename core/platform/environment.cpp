#include "core/platform/environment.hpp"

#include <sys/auxv.h>

#include <cstdlib>

namespace miniinfer {

std::optional<std::string> environment(const char* name) {
  const char* value = secure_getenv(name);
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

bool raised_privileges() noexcept { return getauxval(AT_SECURE) != 0; }

std::vector<std::string> split_list(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

}  // namespace miniinfer
