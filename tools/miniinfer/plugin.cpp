#include <CLI/CLI.hpp>

#include "command.hpp"

namespace miniinfer::command {
namespace {

Json to_json(const PluginReport& report) {
  const auto text = [](const std::string& value) { return value.empty() ? Json() : Json(value); };
  std::string code(to_string(report.code));
  for (char& c : code) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return {{"name", report.name},
          {"path", text(report.path.string())},
          {"found_via", text(report.found_via)},
          {"state", report.state == PluginState::BuiltIn ? "builtin" : to_string(report.state)},
          {"code", report.code == Code::Ok ? Json() : Json(code)},
          {"reason", text(report.reason)},
          {"hint", text(report.hint)},
          {"abi", text(report.abi)},
          {"version", text(report.version)},
          {"notes", report.notes},
          {"missing_libraries", report.missing_libraries}};
}

void explain(const PluginReport& report, Output& output) {
  if (!report.reason.empty()) {
    output.print("        %s%s%s\n", report.reason.c_str(), report.hint.empty() ? "" : "; ",
                 report.hint.c_str());
  }
  for (const std::string& note : report.notes) output.print("        note: %s\n", note.c_str());
}

Outcome list(const CommonOptions& common, Output& output) {
  Result<Runtime> runtime = make_runtime(common);
  if (!runtime) return Outcome::fail(runtime.status(), Stage::Usage);
  const std::vector<PluginReport> reports = runtime->plugins();
  std::size_t widths[3] = {6, 5, 3};
  for (const PluginReport& report : reports) {
    widths[0] = std::max(widths[0], report.name.size());
    widths[1] = std::max(widths[1], to_string(report.state).size());
    widths[2] = std::max(widths[2], report.abi.size());
  }
  const auto row = [&](const std::string& name, std::string_view state, const std::string& abi,
                       const std::string& file) {
    output.print("%-*s  %-*s  %-*s  %s\n", static_cast<int>(widths[0]), name.c_str(),
                 static_cast<int>(widths[1]), std::string(state).c_str(),
                 static_cast<int>(widths[2]), abi.empty() ? "-" : abi.c_str(), file.c_str());
  };
  row("PLUGIN", "STATE", "ABI", "FILE");
  output.document["plugins"] = Json::array();
  for (const PluginReport& report : reports) {
    row(report.name, to_string(report.state), report.abi,
        report.path.empty() ? "-" : report.path.string());
    explain(report, output);
    output.document["plugins"].push_back(to_json(report));
  }
  output.document["searched"] = runtime->searched();
  std::string searched;
  for (const std::string& place : runtime->searched()) {
    searched += (searched.empty() ? "" : ", ") + place;
  }
  output.note("searched %s; MINIINFER_PLUGIN_PATH %s\n", searched.c_str(),
              std::getenv("MINIINFER_PLUGIN_PATH") != nullptr ? "set" : "unset");
  return Outcome::ok();
}

Outcome check(const CommonOptions& common, const std::string& file, Output& output) {
  CommonOptions quiet = common;
  // Nothing else is of interest, least of all what other files have wrong.
  if (quiet.plugins.empty()) quiet.plugins = {file};
  quiet.log = "off";
  Result<Runtime> runtime = make_runtime(quiet);
  if (!runtime) return Outcome::fail(runtime.status(), Stage::Usage);
  const PluginReport report = runtime->check_plugin(file);
  output.document["plugin"] = to_json(report);
  if (report.state == PluginState::Refused) {
    const Code code = report.code == Code::Ok ? Code::Incompatible : report.code;
    return {kPlugin, {code, report.reason, report.hint}, file};
  }
  output.print("%s  ok, %s %s, boundary %s\n", file.c_str(), report.name.c_str(),
               report.version.c_str(), report.abi.c_str());
  explain(report, output);
  return Outcome::ok();
}

}  // namespace

std::function<Outcome()> add_plugin_list(CLI::App& app, Output& output) {
  auto common = std::make_shared<CommonOptions>();
  add_common_options(app, *common, output);
  return [common, &output] { return list(*common, output); };
}

std::function<Outcome()> add_plugin_check(CLI::App& app, Output& output) {
  auto common = std::make_shared<CommonOptions>();
  auto file = std::make_shared<std::string>();
  add_common_options(app, *common, output);
  app.add_option("FILE", *file, "a plugin")->required();
  return [common, file, &output] { return check(*common, *file, output); };
}

}  // namespace miniinfer::command
