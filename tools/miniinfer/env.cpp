#include <CLI/CLI.hpp>
#include <cstdlib>

#include "command.hpp"

namespace miniinfer::command {
namespace {

struct Variable {
  const char* name;
  const char* meaning;
};

constexpr Variable kVariables[] = {
    {"MINIINFER_PLUGIN_PATH",
     "folders of plugins, with : between; replaces the usual search; an empty element stands for "
     "it"},
    {"MINIINFER_PLUGINS", "plugins to use, by name with , between; none: only what is built in"},
    {"MINIINFER_PROBE", "the helper that opens a plugin first"},
    {"MINIINFER_CPU_ISA", "lowers the instruction set of cpu: baseline, avx2, avx512"},
    {"MINIINFER_MEMORY",
     "options of each device's pool, as in limit=4GiB&slack=1.05; also thread_cache, "
     "virtual_memory, annotate"},
    {"MINIINFER_MEMORY_LIMIT",
     "the most memory that all pools of the process may have, and those of a device: "
     "8GiB,cuda:0=4GiB"},
    {"MINIINFER_MEMORY_SNAPSHOT",
     "a folder, or a file that ends in .pickle, .json or .csv: the first pool that has no memory "
     "left is written there, device and process in the name"},
    {"XDG_CACHE_HOME", "where compiled kernels and verdicts about plugins are kept"},
};

}  // namespace

std::function<Outcome()> add_env(CLI::App& app, Output& output) {
  app.set_help_flag("-h,--help", "print this help and exit");
  app.add_flag("--json", output.json, "one JSON document on stdout");
  return [&output] {
    std::vector<std::vector<std::string>> rows = {{"VARIABLE", "VALUE", "WHAT IT DOES"}};
    output.document["variables"] = Json::array();
    for (const Variable& variable : kVariables) {
      const char* value = std::getenv(variable.name);
      rows.push_back({variable.name, value == nullptr ? "-" : value, variable.meaning});
      output.document["variables"].push_back({{"name", variable.name},
                                              {"value", value == nullptr ? Json() : Json(value)},
                                              {"meaning", variable.meaning}});
    }
    output.table(rows);
    return Outcome::ok();
  };
}

}  // namespace miniinfer::command
