#include "plugins/fake/settings.hpp"

#include <charconv>
#include <cstdlib>
#include <limits>
#include <string_view>

#include "miniinfer/sdk/host.hpp"

namespace miniinfer::fake {
namespace {

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

}  // namespace

Settings Settings::current() {
  Settings settings;
  read_number("devices", "MINIINFER_FAKE_DEVICES", settings.devices);
  read_number("memory", "MINIINFER_FAKE_MEMORY", settings.memory_bytes);
  settings.plan = text("plan", "MINIINFER_FAKE_PLAN");
  return settings;
}

}  // namespace miniinfer::fake
