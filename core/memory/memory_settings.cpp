#include "core/memory/memory_settings.hpp"

#include <optional>

#include "core/memory/allocator_spec.hpp"
#include "core/platform/environment.hpp"
#include "miniinfer/text.hpp"

namespace miniinfer {
namespace {

constexpr const char* kPool = "MINIINFER_MEMORY";
constexpr const char* kLimits = "MINIINFER_MEMORY_LIMIT";
constexpr const char* kSnapshot = "MINIINFER_MEMORY_SNAPSHOT";

Status read_limits(const std::string& text, MemorySettings& settings) {
  for (const std::string& entry : split_list(text, ',')) {
    const std::size_t equals = entry.find('=');
    const bool of_device = equals != std::string::npos;
    const std::optional<std::uint64_t> bytes =
        parse_bytes(std::string_view(entry).substr(of_device ? equals + 1 : 0));
    if (!bytes || equals == 0) {
      return {Code::InvalidArgument,
              std::string(kLimits) + ": '" + printable(entry) + "' is no SIZE and no DEVICE=SIZE",
              "as in 8GiB,fake:0=4GiB"};
    }
    if (!of_device) {
      settings.process_limit = *bytes;
      continue;
    }
    std::string device = entry.substr(0, equals);
    if (device.find(':') == std::string::npos) device += ":0";
    settings.device_limits.emplace_back(std::move(device), *bytes);
  }
  return {};
}

}  // namespace

std::uint64_t MemorySettings::limit_of(std::string_view device) const noexcept {
  for (const auto& [name, bytes] : device_limits) {
    if (name == device) return bytes;
  }
  return Budget::kUnlimited;
}

Result<MemorySettings> read_memory_settings() {
  MemorySettings settings;
  if (const std::optional<std::string> text = environment(kPool)) {
    Result<PoolOptions> options = parse_pool_options(*text, kPool);
    if (!options) return options.status();
    settings.pool = *options;
  }
  if (const std::optional<std::string> text = environment(kLimits); text && !text->empty()) {
    if (Status status = read_limits(*text, settings); !status.ok()) return status;
  }
  return settings;
}

std::string snapshot_setting() { return environment(kSnapshot).value_or(""); }

}  // namespace miniinfer
