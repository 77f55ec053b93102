#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace miniinfer {

// An environment variable; nothing where it is unset, or where the process runs with raised
// privileges (set-user-id and the like), in which nobody's environment is believed.
std::optional<std::string> environment(const char* name);

// Whether the process has more rights than who started it.
bool raised_privileges() noexcept;

// Elements of a list such as "a:b"; empty elements are kept. An empty text is one empty element.
std::vector<std::string> split_list(std::string_view text, char separator);

}  // namespace miniinfer
