#include <CLI/CLI.hpp>
#include <exception>
#include <map>

#include "command.hpp"

namespace {

using namespace miniinfer;           // NOLINT(google-build-using-namespace)
using namespace miniinfer::command;  // NOLINT(google-build-using-namespace)

constexpr const char* kExitCodes =
    "exit codes: 0 ok; 1 outputs differ; 2 usage; 3 model rejected; 4 plugin rejected; 5 no "
    "usable\n"
    "device; 6 limit or out of memory; 7 device lost; 8 cancelled or timed out; 9 file; 10 an\n"
    "operator failed on its data; 70 internal";

struct Chosen {
  std::string name;
  std::function<Outcome()> run;
};

Outcome guarded(const std::function<Outcome()>& run) {
  try {
    return run();
  } catch (const Error& error) {
    return Outcome::fail(error.status(), Stage::Run);
  } catch (const std::bad_alloc&) {
    return Outcome::fail({Code::OutOfMemory, "the host has no memory left"}, Stage::Run);
  } catch (const std::exception& error) {
    return Outcome::fail({Code::Internal, error.what()}, Stage::Run);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Output output;
  CLI::App app("Finds the compute devices of this machine and runs ONNX models on them.",
               "miniinfer");
  app.footer(kExitCodes);
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "help of all subcommands");
  bool show_version = false;
  app.add_flag("--version", show_version, "print the version and exit");

  std::map<const CLI::App*, Chosen> commands;
  const auto add = [&](CLI::App& parent, const char* name, const char* summary, auto adder,
                       const char* full_name) {
    CLI::App* sub = parent.add_subcommand(name, summary);
    commands[sub] = {full_name, adder(*sub, output)};
  };
  add(app, "devices", "list the devices there are", add_devices, "devices");
  add(app, "run", "run a model once", add_run, "run");
  add(app, "bench", "measure a model", add_bench, "bench");
  add(app, "compare", "compare devices on a model", add_compare, "compare");
  add(app, "inspect", "describe a model", add_inspect, "inspect");
  add(app, "conformance", "run ONNX backend tests", add_conformance, "conformance");
  CLI::App* plugin = app.add_subcommand("plugin", "list and check plugins");
  plugin->require_subcommand(1);
  add(*plugin, "list", "list every candidate and what became of it", add_plugin_list,
      "plugin list");
  add(*plugin, "check", "check a plugin file without using it", add_plugin_check, "plugin check");
  add(app, "env", "list the environment variables that are read", add_env, "env");
  add(app, "doctor", "check this installation; safe to paste", add_doctor, "doctor");

  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    output.print("miniinfer %s%s%s, boundary %s\n", std::string(version()).c_str(),
                 commit().empty() ? "" : " ", std::string(commit()).c_str(),
                 std::string(abi_version()).c_str());
    return output.finish("version", Outcome::ok());
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    const CLI::App* sub = chosen.empty() ? &app : chosen.front();
    if (sub == plugin && !plugin->get_subcommands().empty())
      sub = plugin->get_subcommands().front();
    output.print("%s", sub->help().c_str());
    return output.finish("help", Outcome::ok());
  } catch (const CLI::CallForAllHelp&) {
    output.print("%s", app.help("", CLI::AppFormatMode::All).c_str());
    return output.finish("help", Outcome::ok());
  } catch (const CLI::ParseError& error) {
    return output.finish(
        "usage",
        Outcome::fail({Code::InvalidArgument, error.what(), "see miniinfer --help"}, Stage::Usage));
  }
  for (const auto& [sub, chosen] : commands) {
    if (sub->parsed()) return output.finish(chosen.name, guarded(chosen.run));
  }
  return kUsage;
}
