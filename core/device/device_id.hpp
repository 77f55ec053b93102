#pragma once

#include <optional>
#include <string_view>

#include "miniinfer/status.hpp"

namespace miniinfer {

// "fake", "fake:1" or "fake:GPU-1f2e" taken apart. Views into the text.
struct DeviceId {
  std::string_view backend;
  std::optional<int> ordinal;  // 0 where the text names only a backend
  std::string_view stable_id;  // empty: by ordinal
};

// INVALID_ARGUMENT, with what the form is, for anything else: no space, sign, leading zero, comma
// or empty part is accepted.
Result<DeviceId> parse_device_id(std::string_view text);

}  // namespace miniinfer
