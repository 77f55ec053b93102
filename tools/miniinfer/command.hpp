#pragma once

// What the subcommands share: where results go, how failures end, and what stops them.

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/miniinfer.hpp"

namespace CLI {
class App;
}

namespace miniinfer::command {

using Json = nlohmann::ordered_json;

// The exit codes, as the manual lists them.
enum Exit : int {
  kOk = 0,
  kDifferent = 1,  // outputs differ, conformance failures
  kUsage = 2,      // usage, wrong input name, type or shape
  kModel = 3,      // the model is rejected, or no device at all runs it
  kPlugin = 4,     // a plugin is rejected
  kDevice = 5,     // no usable device, or a placement that cannot be met
  kMemory = 6,     // a limit, or out of memory
  kLost = 7,       // device lost
  kStopped = 8,    // cancelled or timed out
  kFile = 9,       // reading or writing a file
  kRun = 10,       // an operator failed on its data
  kInternal = 70,
};

// In which part of a command something failed: what a code means depends on it.
enum class Stage { Usage, Plugin, File, Load, Run };
int exit_code(const Status& status, Stage stage);

// How a subcommand ended. A failure carries what to print.
struct Outcome {
  int exit = kOk;
  Status status;
  std::string where;        // the file or argument concerned
  bool is_printed = false;  // a child of this process has said it already

  static Outcome ok() { return {}; }
  static Outcome different() { return {kDifferent, {}, {}, false}; }
  static Outcome fail(Status status, Stage stage, std::string where = {}) {
    const int code = exit_code(status, stage);
    return {code, std::move(status), std::move(where), false};
  }
};

// Results go to stdout: as text while they come, or with --json as one document at the end. The
// process's descriptor 1 points at stderr, so that no plugin can write between them. Control
// characters are escaped on every way out; a name that could hold a line end goes through
// printable() before it becomes part of a line.
class Output {
 public:
  Output();
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  bool json = false;
  Json document = Json::object();  // the subcommand's own keys
  // Names those keys, before anything can fail: each is null until it is known.
  void declare(std::initializer_list<const char*> keys);

  // A line, or part of one, of text results; nothing with --json.
  void print(const char* format, ...) __attribute__((format(printf, 2, 3)));
  void flush();
  // To stderr: "warning: ..", and into the document.
  void warn(std::string_view code, const std::string& message);
  // Those of a child, which has printed them; each but once.
  void add_warnings(const Json& warnings);
  // A log for a runtime: shows what `level` asks for, and puts warnings into the document.
  std::function<void(Level, std::string_view, std::string_view)> log(Level level);
  // To stderr, where that is a terminal: trailing notes and progress.
  void note(const char* format, ...) __attribute__((format(printf, 2, 3)));
  bool on_terminal() const;
  // Columns padded to their widest cell; `header` is the first row.
  void table(const std::vector<std::vector<std::string>>& rows, int indent = 0);

  // Prints the failure, completes and writes the document. Gives the exit code, which becomes kFile
  // where stdout could not be written.
  int finish(std::string_view command, const Outcome& outcome);

 private:
  struct Warnings {
    std::mutex mutex;
    Json list = Json::array();
    void add(const Json& warning);
  };

  std::FILE* out_;
  std::shared_ptr<Warnings> warnings_ = std::make_shared<Warnings>();  // a log outlives this
};

// The first SIGINT or SIGTERM asks for a stop; the second kills.
std::stop_token interrupted();

// Where compiled kernels and verdicts about plugins are kept from one process to the next:
// $XDG_CACHE_HOME/miniinfer, or ~/.cache/miniinfer; empty where there is no such place.
std::filesystem::path cache_folder();

// Options of most subcommands.
struct CommonOptions {
  std::string devices;
  std::vector<std::string> plugins;
  std::vector<std::string> options;  // NAME=VALUE for plugins
  std::string log = "warn";
  std::vector<int> threads;  // one; several for bench; empty: as many as are usable
};
void add_common_options(CLI::App& app, CommonOptions& common, Output& output);
Result<Runtime> make_runtime(const CommonOptions& common, Output& output);
// The runtime of a command that runs a model: a plugin named by the caller must be usable.
Result<Runtime> make_runtime(const CommonOptions& common, Output& output, Stage& stage);

// Options of those that load a model.
struct ModelOptions {
  std::string model;
  std::vector<std::string> inputs;  // NAME=@F.npy | NAME=random[:SEED[:LO..HI]] | NAME=zeros
  std::vector<std::string> all;     // F.npz or a test_data_set folder
  std::vector<std::string> shapes;  // NAME=1x3x224x224
  std::vector<std::string> limits;  // DEVICE=SIZE
  std::vector<std::string> no_pass;
  std::string precision = "strict";
  double timeout = 0;  // seconds
  int contexts = 1;
};
void add_model_options(CLI::App& app, CommonOptions& common, ModelOptions& model);

// --rtol and --atol: |got - want| <= atol + rtol * |want|.
void add_tolerances(CLI::App& app, double& rtol, double& atol);

struct Loaded {
  Session session;
  std::int64_t load_ns = 0;
};
// Loads, with warnings on the output. The failure's stage is Load, or Usage for a bad option.
Result<Loaded> load_model(const Runtime& runtime, const ModelOptions& options,
                          std::string_view devices, Output& output, Stage& stage);
// For one run: stops at an interrupt and after --timeout.
RunOptions run_options(const ModelOptions& options);
// "fake:0 5/7, cpu:0 2/7 nodes" on stderr where the caller left the choice open.
void say_placement(const Placement& placement, const CommonOptions& common);
Result<std::vector<NamedShape>> parse_shapes(const ModelOptions& options);

std::string placement_text(const Placement& placement);
std::string human_bytes(std::uint64_t bytes);
std::string lower(std::string_view text);
Json json_text(std::string_view text);                 // null where empty
Json json_number(const std::optional<double>& value);  // null where it is not finite, too
Json json_shape(const Shape& shape);                   // free sizes are null
Json to_json(const PluginReport& report);

// Each adds its options to a subcommand of the app and gives what to call when it was chosen.
std::function<Outcome()> add_devices(CLI::App& app, Output& output);
std::function<Outcome()> add_run(CLI::App& app, Output& output);
std::function<Outcome()> add_bench(CLI::App& app, Output& output);
std::function<Outcome()> add_compare(CLI::App& app, Output& output);
std::function<Outcome()> add_inspect(CLI::App& app, Output& output);
std::function<Outcome()> add_conformance(CLI::App& app, Output& output);
std::function<Outcome()> add_mem_plan(CLI::App& app, Output& output);
std::function<Outcome()> add_mem_pack(CLI::App& app, Output& output);
std::function<Outcome()> add_mem_replay(CLI::App& app, Output& output);
std::function<Outcome()> add_plugin_list(CLI::App& app, Output& output);
std::function<Outcome()> add_plugin_check(CLI::App& app, Output& output);
std::function<Outcome()> add_env(CLI::App& app, Output& output);
std::function<Outcome()> add_doctor(CLI::App& app, Output& output);

}  // namespace miniinfer::command
