#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <map>

#include "command.hpp"

namespace {

using namespace miniinfer;           // NOLINT(google-build-using-namespace)
using namespace miniinfer::command;  // NOLINT(google-build-using-namespace)

constexpr const char* kExitCodes =
    "Options of a subcommand: miniinfer SUBCOMMAND --help. Results go to stdout, the rest to "
    "stderr.\n"
    "\n"
    "exit codes:\n"
    "  0  ok                                     6  a memory limit, or out of memory\n"
    "  1  outputs differ, a test failed          7  device lost\n"
    "  2  usage; wrong input name, type, shape   8  cancelled, or timed out\n"
    "  3  model rejected                         9  reading or writing a file\n"
    "  4  plugin rejected                       10  an operator failed on its data\n"
    "  5  no usable device, or a placement that the named devices cannot meet\n"
    "  70 a bug: please report it\n";

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

// Its options may not have been read when the line turns out to be wrong.
bool wants_json(int argc, char** argv) {
  return std::find(argv + 1, argv + argc, std::string_view("--json")) != argv + argc;
}

}  // namespace

int main(int argc, char** argv) {
  Output output;
  CLI::App app("Finds the compute devices of this machine and runs ONNX models on them.",
               "miniinfer");
  app.set_help_flag("-h,--help", "print this help and exit");
  app.require_subcommand(1);
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
  add(app, "bench", "measure how fast a model runs", add_bench, "bench");
  add(app, "compare", "run a model on several devices and compare the outputs", add_compare,
      "compare");
  add(app, "inspect", "describe a model: its inputs, memory and placement", add_inspect, "inspect");
  add(app, "conformance", "run ONNX backend tests", add_conformance, "conformance");
  CLI::App* mem =
      app.add_subcommand("mem", "plan the memory of a model, pack buffers, replay traces");
  mem->require_subcommand(1);
  add(*mem, "plan", "show what lies where in a model's arenas, and when", add_mem_plan, "mem plan");
  add(*mem, "pack", "pack buffers with known lifetimes into one arena", add_mem_pack, "mem pack");
  add(*mem, "replay", "ask allocators for what a recorded program asked for", add_mem_replay,
      "mem replay");
  CLI::App* plugin = app.add_subcommand("plugin", "list and check plugins");
  plugin->require_subcommand(1);
  add(*plugin, "list", "list every candidate and what became of it", add_plugin_list,
      "plugin list");
  add(*plugin, "check", "check a plugin file without using it", add_plugin_check, "plugin check");
  add(app, "env", "list the environment variables that are read", add_env, "env");
  add(app, "doctor", "check this installation; safe to paste", add_doctor, "doctor");
  // Here, not sooner: subcommands would take them over.
  app.footer(kExitCodes);
  app.set_help_all_flag("--help-all", "print the help of all subcommands and exit");

  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    output.print("miniinfer %s%s%s, boundary %s\n", std::string(version()).c_str(),
                 commit().empty() ? "" : " ", std::string(commit()).c_str(),
                 std::string(abi_version()).c_str());
    return output.finish("version", Outcome::ok());
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::string before;
    const CLI::App* sub = &app;
    while (!sub->get_subcommands().empty()) {
      before += (before.empty() ? "" : " ") + sub->get_name();
      sub = sub->get_subcommands().front();
    }
    output.print("%s", sub->help(before).c_str());
    return output.finish("help", Outcome::ok());
  } catch (const CLI::CallForAllHelp&) {
    output.print("%s", app.help("", CLI::AppFormatMode::All).c_str());
    return output.finish("help", Outcome::ok());
  } catch (const CLI::ParseError& error) {
    output.json = wants_json(argc, argv);
    return output.finish(
        "usage",
        Outcome::fail({Code::InvalidArgument, error.what(), "see miniinfer --help"}, Stage::Usage));
  }
  for (const auto& [sub, chosen] : commands) {
    if (sub->parsed()) return output.finish(chosen.name, guarded(chosen.run));
  }
  return kUsage;
}
