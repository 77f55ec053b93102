#include "plugins/fake/settings.hpp"

#include <charconv>
#include <cstdlib>
#include <limits>
#include <string_view>

#include "miniinfer/sdk/host.hpp"

namespace miniinfer::fake {
namespace {

constexpr std::uint64_t kMinGranularity = 4096;  // a page of the host's

std::string_view text(const char* option, const char* variable) {
  const char* value = sdk::option(option);
  if (value == nullptr) value = std::getenv(variable);
  return value == nullptr ? std::string_view() : value;
}

template <class T>
void read_number(const char* option, const char* variable, T& out) {
  const std::string_view given = text(option, variable);
  if (given.empty()) return;
  const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), out);
  if (error != std::errc() || end != given.data() + given.size()) {
    sdk::fail(MINIINFER_INVALID_ARGUMENT, "fake.%s is \"%.*s\", which is no number up to %llu",
              option, static_cast<int>(given.size()), given.data(),
              static_cast<unsigned long long>(std::numeric_limits<T>::max()));
  }
}

void read_flag(const char* option, const char* variable, bool& out) {
  std::uint32_t number = out ? 1 : 0;
  read_number(option, variable, number);
  out = number != 0;
}

}  // namespace

Settings Settings::current() {
  Settings settings;
  read_number("devices", "MINIINFER_FAKE_DEVICES", settings.devices);
  read_number("memory", "MINIINFER_FAKE_MEMORY", settings.memory_bytes);
  read_number("block", "MINIINFER_FAKE_BLOCK", settings.max_block);
  if (settings.max_block == 0) settings.max_block = settings.memory_bytes;
  read_number("granularity", "MINIINFER_FAKE_GRANULARITY", settings.granularity);
  const std::uint64_t unit = settings.granularity;
  if (unit != 0 && (unit < kMinGranularity || (unit & (unit - 1)) != 0)) {
    sdk::fail(
        MINIINFER_INVALID_ARGUMENT, "fake.granularity is %llu, which is no power of two from %llu",
        static_cast<unsigned long long>(unit), static_cast<unsigned long long>(kMinGranularity));
  }
  read_number("seed", "MINIINFER_FAKE_SEED", settings.seed);
  read_flag("flat", "MINIINFER_FAKE_FLAT", settings.flat);
  read_flag("inline", "MINIINFER_FAKE_INLINE", settings.is_inline);
  read_flag("peers", "MINIINFER_FAKE_PEERS", settings.peers);
  settings.plan = text("plan", "MINIINFER_FAKE_PLAN");
  settings.refuse = text("refuse", "MINIINFER_FAKE_REFUSE");
  const std::string_view layout = text("layout", "MINIINFER_FAKE_LAYOUT");
  settings.prefers_channels_last = layout == "channels-last";
  if (!layout.empty() && !settings.prefers_channels_last) {
    sdk::fail(MINIINFER_INVALID_ARGUMENT, "fake.layout is \"%.*s\": only channels-last is known",
              static_cast<int>(layout.size()), layout.data());
  }
  return settings;
}

std::string Settings::refused(std::uint32_t ordinal) const {
  const std::string before = std::to_string(ordinal) + "=";
  return refuse.starts_with(before) ? refuse.substr(before.size()) : "";
}

}  // namespace miniinfer::fake
