#include "core/memory/allocator_spec.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>

#include "core/base/format.hpp"
#include "miniinfer/text.hpp"

namespace miniinfer {
namespace {

using Layer = AllocatorSpec::Layer;
using Kind = AllocatorSpec::Kind;

// Each reads a value and gives it as all spellings of it are written; nothing where it is none.
using Written = std::optional<std::string>;

Written read_size(std::string_view value, std::uint64_t& out) {
  const std::optional<std::uint64_t> bytes = parse_bytes(value);
  if (!bytes) return std::nullopt;
  out = *bytes;
  return std::to_string(out);
}

Written read_slack(std::string_view value, Layer& layer) {
  double slack = 0;
  const char* const end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, slack);
  if (error != std::errc() || rest != end || !(slack >= 1 && slack <= 1000)) return std::nullopt;
  layer.pool.slack = slack;
  return format("%.17g", slack);
}

Written read_switch(std::string_view value, bool& out) {
  if (value != "on" && value != "off") return std::nullopt;
  out = value == "on";
  return std::string(value);
}

Written read_history(std::string_view value, Layer& layer) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 24;
  const char* const end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, layer.history);
  if (error != std::errc() || rest != end || layer.history > kMost) return std::nullopt;
  return std::to_string(layer.history);
}

struct Option {
  std::string_view key;
  std::string_view form;  // of its value
  Written (*read)(std::string_view value, Layer& layer);
};

constexpr Option kAnnotate = {"annotate", "on|off", [](std::string_view value, Layer& layer) {
                                return read_switch(value, layer.pool.annotate);
                              }};
constexpr Option kLimit = {"limit", "SIZE", [](std::string_view value, Layer& layer) {
                             return read_size(value, layer.pool.limit);
                           }};
constexpr Option kSlack = {"slack", "1..1000", read_slack};
constexpr Option kThreadCache = {"thread_cache", "SIZE", [](std::string_view value, Layer& layer) {
                                   return read_size(value, layer.pool.thread_cache_bytes);
                                 }};
constexpr Option kVirtualMemory = {"virtual_memory", "on|off",
                                   [](std::string_view value, Layer& layer) {
                                     return read_switch(value, layer.pool.virtual_memory);
                                   }};
constexpr Option kBytes = {"bytes", "SIZE", [](std::string_view value, Layer& layer) {
                             return read_size(value, layer.bytes);
                           }};

constexpr Option kHistory = {"history", "0..16777216", read_history};

constexpr Option kCachingOptions[] = {kLimit, kSlack, kThreadCache, kVirtualMemory, kAnnotate};
constexpr Option kPoolOptions[] = {kLimit, kSlack, kVirtualMemory, kAnnotate};
constexpr Option kLimitOptions[] = {kBytes};
constexpr Option kTrackingOptions[] = {kHistory};

struct Preset {
  std::string_view name;
  Kind kind;
  std::span<const Option> options;
  bool needs_options = false;
};

constexpr Preset kPresets[] = {
    {"caching", Kind::Caching, kCachingOptions},
    {"pool", Kind::Pool, kPoolOptions},
    {"limit", Kind::Limit, kLimitOptions, true},
    {"tracking", Kind::Tracking, kTrackingOptions},
};

std::string list_options(const Preset& preset) {
  std::string text;
  for (const Option& option : preset.options) {
    text += (text.empty() ? "" : ", ") + std::string(option.key) + "=" + std::string(option.form);
  }
  return text.empty() ? "none" : text;
}

// What is before the separator; `text` keeps what is behind it.
std::string_view cut(std::string_view& text, char separator) {
  const std::size_t at = std::min(text.find(separator), text.size());
  const std::string_view front = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return front;
}

// Gives the options as all spellings of them are written.
Result<std::string> read_options(const Preset& preset, std::string_view text,
                                 std::string_view owner, Layer& layer) {
  const auto wrong = [&](const std::string& what) {
    return Status(Code::InvalidArgument, std::string(owner) + ": " + what,
                  "options are " + list_options(preset));
  };
  std::vector<std::string> written(preset.options.size());
  while (!text.empty()) {
    std::string_view value = cut(text, '&');
    const std::string_view key = cut(value, '=');
    const auto option = std::find_if(preset.options.begin(), preset.options.end(),
                                     [&](const Option& known) { return known.key == key; });
    if (option == preset.options.end()) {
      return wrong("there is no option '" + printable(key) + "'");
    }
    const auto index = static_cast<std::size_t>(option - preset.options.begin());
    if (!written[index].empty()) return wrong("option " + std::string(key) + " is given twice");
    const Written read = option->read(value, layer);
    if (!read) {
      return wrong("'" + printable(value) + "' is no value for " + std::string(key) + "=" +
                   std::string(option->form));
    }
    written[index] = std::string(key) + "=" + *read;
    layer.has_options = true;
  }
  if (preset.needs_options && !layer.has_options) return wrong("options are missing");
  std::string all;
  for (const std::string& one : written) {
    if (!one.empty()) all += (all.empty() ? "?" : "&") + one;
  }
  return all;
}

}  // namespace

Result<AllocatorSpec> parse_allocator_spec(std::string_view name) {
  AllocatorSpec spec;
  std::string_view rest = name;
  spec.device = cut(rest, '/');
  if (!spec.device.empty() && spec.device.find(':') == std::string::npos) spec.device += ":0";
  if (spec.device.find('?') != std::string::npos) {
    return Status(Code::InvalidArgument, "allocator '" + printable(name) + "': '" +
                                             printable(spec.device) +
                                             "' has options without a preset that takes them");
  }
  spec.text = spec.device;
  const bool ends_in_nothing = name.ends_with('/');
  while (!rest.empty() || ends_in_nothing) {
    std::string_view options = cut(rest, '/');
    const std::string_view wanted = cut(options, '?');
    const auto preset = std::find_if(std::begin(kPresets), std::end(kPresets),
                                     [&](const Preset& known) { return known.name == wanted; });
    if (preset == std::end(kPresets)) {
      std::string names;
      for (const Preset& known : kPresets) {
        names += (names.empty() ? "" : ", ") + std::string(known.name);
      }
      return Status(
          Code::InvalidArgument,
          "allocator '" + printable(name) + "': there is no preset '" + printable(wanted) + "'",
          "presets are " + names);
    }
    Layer layer{preset->kind, {}};
    if (preset->kind == Kind::Pool) layer.pool.thread_cache_bytes = 0;
    Result<std::string> written = read_options(
        *preset, options, "allocator '" + printable(name) + "', " + std::string(wanted), layer);
    if (!written) return written.status();
    spec.text += "/" + std::string(preset->name) + *written;
    spec.layers.push_back(layer);
  }
  return spec;
}

Result<PoolOptions> parse_pool_options(std::string_view text, std::string_view owner) {
  Layer layer{Kind::Caching, {}};
  Result<std::string> written = read_options(kPresets[0], text, owner, layer);
  if (!written) return written.status();
  return layer.pool;
}

}  // namespace miniinfer
