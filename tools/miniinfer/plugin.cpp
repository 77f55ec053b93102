#include <CLI/CLI.hpp>
#include <array>

#include "command.hpp"

namespace miniinfer::command {

Json to_json(const PluginReport& report) {
  return {{"name", report.name},
          {"path", json_text(report.path.string())},
          {"found_via", json_text(report.found_via)},
          {"state", report.state == PluginState::BuiltIn ? "builtin" : to_string(report.state)},
          {"code", report.code == Code::Ok ? Json() : Json(lower(to_string(report.code)))},
          {"reason", json_text(report.reason)},
          {"hint", json_text(report.hint)},
          {"abi", json_text(report.abi)},
          {"version", json_text(report.version)},
          {"notes", report.notes},
          {"missing_libraries", report.missing_libraries}};
}

namespace {

void explain(const PluginReport& report, Output& output) {
  if (!report.reason.empty()) {
    output.print("        %s%s%s\n", printable(report.reason, 4096).c_str(),
                 report.hint.empty() ? "" : "; ", report.hint.c_str());
  }
  for (const std::string& note : report.notes) {
    output.print("        note: %s\n", printable(note, 4096).c_str());
  }
}

Outcome list(const CommonOptions& common, Output& output) {
  output.declare({"plugins", "searched"});
  Result<Runtime> runtime = make_runtime(common, output);
  if (!runtime) return Outcome::fail(runtime.status(), Stage::Usage);
  const std::vector<PluginReport> reports = runtime->plugins();
  const auto shown = [](const std::string& text) { return text.empty() ? "-" : printable(text); };
  std::vector<std::array<std::string, 3>> cells = {{"PLUGIN", "STATE", "ABI"}};
  std::size_t widths[3] = {};
  for (const PluginReport& report : reports) {
    cells.push_back({shown(report.name), std::string(to_string(report.state)), shown(report.abi)});
  }
  for (const auto& row : cells) {
    for (int i = 0; i < 3; ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  const auto print_row = [&](std::size_t row, const std::string& file) {
    for (int i = 0; i < 3; ++i) {
      output.print("%-*s  ", static_cast<int>(widths[i]), cells[row][i].c_str());
    }
    output.print("%s\n", file.c_str());
  };
  print_row(0, "FILE");
  output.document["plugins"] = Json::array();
  for (std::size_t i = 0; i < reports.size(); ++i) {
    print_row(i + 1, reports[i].path.empty() ? "-" : printable(reports[i].path.string(), 4096));
    explain(reports[i], output);
    output.document["plugins"].push_back(to_json(reports[i]));
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
  output.declare({"plugin"});
  CommonOptions quiet = common;
  // Nothing else is of interest, least of all what other files have wrong.
  if (quiet.plugins.empty()) quiet.plugins = {file};
  quiet.log = "off";
  Result<Runtime> runtime = make_runtime(quiet, output);
  if (!runtime) return Outcome::fail(runtime.status(), Stage::Usage);
  const PluginReport report = runtime->check_plugin(file);
  output.document["plugin"] = to_json(report);
  if (report.state == PluginState::Refused) {
    const Code code = report.code == Code::Ok ? Code::Incompatible : report.code;
    return Outcome::fail({code, report.reason, report.hint}, Stage::Plugin, file);
  }
  output.print("%s  ok, %s %s, boundary %s\n", printable(file, 4096).c_str(), report.name.c_str(),
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
  app.add_option("FILE", *file, "a plugin")->required()->type_name("");
  return [common, file, &output] { return check(*common, *file, output); };
}

}  // namespace miniinfer::command
