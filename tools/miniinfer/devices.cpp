#include <CLI/CLI.hpp>

#include "command.hpp"

namespace miniinfer::command {
namespace {

struct Options {
  CommonOptions common;
  bool open = false;
  bool brief = false;
};

// The device used when none is named: the first that is there.
bool is_usable(const Device& device) {
  return device.state() != DeviceState::Absent && device.state() != DeviceState::Lost;
}

std::string describe(const Device& device, const Runtime& runtime) {
  if (!is_usable(device)) return std::string(device.reason());
  std::string text(device.name());
  if (device.type() == DeviceType::CPU) {
    text += ", " + std::to_string(runtime.threads()) +
            (runtime.threads() == 1 ? " thread" : " threads");
  }
  if (!device.bus_id().empty()) text += ", " + std::string(device.bus_id());
  if (!device.driver().empty()) text += ", driver " + std::string(device.driver());
  return text;
}

Json types_of(const Device& device) {
  Json types = Json::array();
  for (int i = 1; i < 64; ++i) {
    if ((device.data_types() >> i & 1) != 0) types.push_back(to_string(static_cast<DataType>(i)));
  }
  return types;
}

// The same piece of hardware under the names of other backends.
Json same_as(const Device& device, const Runtime& runtime) {
  Json ids = Json::array();
  if (device.bus_id().empty()) return ids;
  for (const Device& other : runtime.devices()) {
    if (!(other == device) && other.bus_id() == device.bus_id()) ids.push_back(other.id());
  }
  return ids;
}

Json device_json(const Device& device, const Runtime& runtime, bool is_default) {
  Json json = {
      {"id", device.id()},
      {"stable_id", json_text(device.stable_id())},
      {"backend", device.backend()},
      {"index", device.ordinal() < 0 ? Json() : Json(device.ordinal())},
      {"name", json_text(device.name())},
      {"state", to_string(device.state())},
      {"reason", json_text(device.reason())},
      {"default", is_default},
      {"opened", device.state() == DeviceState::Ready},
      {"bus_id", json_text(device.bus_id())},
      {"same_as", same_as(device, runtime)},
      {"memory_total_bytes", device.memory_bytes() == 0 ? Json() : Json(device.memory_bytes())},
      {"memory_free_bytes", Json()},
      {"types", types_of(device)},
      {"threads", device.type() == DeviceType::CPU ? Json(runtime.threads()) : Json()},
      {"driver", json_text(device.driver())},
      {"plugin", device.backend()}};
  if (device.state() == DeviceState::Ready) {
    if (const Result<MemoryInfo> memory = device.memory(); memory && memory->total_bytes > 0) {
      json["memory_free_bytes"] = memory->free_bytes;
    }
  }
  return json;
}

Outcome run(const Options& options, Output& output) {
  output.declare({"devices", "plugins", "searched"});
  Result<Runtime> runtime = make_runtime(options.common, output);
  if (!runtime) return Outcome::fail(runtime.status(), Stage::Usage);
  std::vector<std::vector<std::string>> rows = {{"DEVICE", "STATE", "MEMORY", "NAME"}};
  std::string brief;
  bool found_default = false;
  bool some_unknown = false;
  output.document["devices"] = Json::array();
  for (const Device& device : runtime->devices()) {
    // The host costs nothing to open.
    if (is_usable(device) && (options.open || device.type() == DeviceType::CPU)) {
      if (Status status = device.open(); !status.ok()) {
        output.warn(to_string(status.code()), std::string(status.message()));
      }
    }
    const bool is_default = !found_default && is_usable(device);
    found_default = found_default || is_default;
    std::string memory = "-";
    if (is_usable(device)) {
      memory = device.memory_bytes() == 0 ? "?" : human_bytes(device.memory_bytes());
      some_unknown = some_unknown || device.memory_bytes() == 0;
    }
    rows.push_back({std::string(device.id()) + (is_default ? " *" : ""),
                    std::string(to_string(device.state())), memory, describe(device, *runtime)});
    brief += (brief.empty() ? "" : "; ") + std::string(device.id()) + " " +
             std::string(to_string(device.state()));
    if (!is_usable(device)) brief += ": " + std::string(device.reason());
    output.document["devices"].push_back(device_json(device, *runtime, is_default));
  }
  output.document["plugins"] = Json::array();
  for (const PluginReport& plugin : runtime->plugins()) {
    output.document["plugins"].push_back(to_json(plugin));
  }
  output.document["searched"] = runtime->searched();
  if (options.brief) {
    output.print("devices   %s\n", printable(brief, 4096).c_str());
    return Outcome::ok();
  }
  output.table(rows);
  output.note("* used without -d\n");
  if (some_unknown) output.note("? known once opened: miniinfer devices --open\n");
  return Outcome::ok();
}

}  // namespace

std::function<Outcome()> add_devices(CLI::App& app, Output& output) {
  auto options = std::make_shared<Options>();
  app.add_flag("--open", options->open, "open every device, to know its memory");
  app.add_flag("--brief", options->brief, "one line");
  add_common_options(app, options->common, output);
  return [options, &output] { return run(*options, output); };
}

}  // namespace miniinfer::command
