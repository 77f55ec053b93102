#pragma once

// What the subcommands share: where results go, how failures end, and what stops them.

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
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
enum class Stage { Usage, File, Load, Run };
int exit_code(const Status& status, Stage stage);

// How a subcommand ended. A failure carries what to print.
struct Outcome {
  int exit = kOk;
  Status status;
  std::string where;  // the file or argument concerned

  static Outcome ok() { return {}; }
  static Outcome different() { return {kDifferent, {}, {}}; }
  static Outcome fail(Status status, Stage stage, std::string where = {}) {
    const int code = exit_code(status, stage);
    return {code, std::move(status), std::move(where)};
  }
};

// Results go to stdout: as text while they come, or with --json as one document at the end. The
// process's descriptor 1 points at stderr, so that no plugin can write between them.
class Output {
 public:
  Output();
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  bool json = false;
  Json document = Json::object();  // the subcommand's own keys

  // A line, or part of one, of text results; nothing with --json.
  void print(const char* format, ...) __attribute__((format(printf, 2, 3)));
  void flush();
  // To stderr: "warning: ..", and into the document.
  void warn(std::string_view code, const std::string& message);
  // To stderr, where that is a terminal: trailing notes and progress.
  void note(const char* format, ...) __attribute__((format(printf, 2, 3)));
  bool on_terminal() const;
  // Columns padded to their widest cell; `header` is the first row.
  void table(const std::vector<std::vector<std::string>>& rows, int indent = 0);

  // Prints the failure, completes and writes the document. Gives the exit code, which becomes kFile
  // where stdout could not be written.
  int finish(std::string_view command, const Outcome& outcome);

 private:
  std::FILE* out_;
  Json warnings_ = Json::array();
};

// The first SIGINT or SIGTERM asks for a stop; the second kills.
std::stop_token interrupted();

// Options of most subcommands.
struct CommonOptions {
  std::string devices;
  std::vector<std::string> plugins;
  std::vector<std::string> options;  // NAME=VALUE for plugins
  std::string log = "warn";
  int threads = 0;
};
void add_common_options(CLI::App& app, CommonOptions& common, Output& output);
Result<Runtime> make_runtime(const CommonOptions& common);

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
void add_model_options(CLI::App& app, ModelOptions& model);

struct Loaded {
  Session session;
  std::int64_t load_ns = 0;
};
// Loads, with warnings on the output. The failure's stage is Load, or Usage for a bad option.
Result<Loaded> load_model(const Runtime& runtime, const CommonOptions& common,
                          const ModelOptions& options, std::string_view devices, Output& output,
                          Stage& stage);
Result<std::vector<NamedShape>> parse_shapes(const ModelOptions& options);

std::string human_bytes(std::uint64_t bytes);
Json json_shape(const Shape& shape);  // free sizes are null

// Each adds its options to a subcommand of the app and gives what to call when it was chosen.
std::function<Outcome()> add_devices(CLI::App& app, Output& output);
std::function<Outcome()> add_run(CLI::App& app, Output& output);
std::function<Outcome()> add_bench(CLI::App& app, Output& output);
std::function<Outcome()> add_compare(CLI::App& app, Output& output);
std::function<Outcome()> add_inspect(CLI::App& app, Output& output);
std::function<Outcome()> add_conformance(CLI::App& app, Output& output);
std::function<Outcome()> add_plugin_list(CLI::App& app, Output& output);
std::function<Outcome()> add_plugin_check(CLI::App& app, Output& output);
std::function<Outcome()> add_env(CLI::App& app, Output& output);
std::function<Outcome()> add_doctor(CLI::App& app, Output& output);

}  // namespace miniinfer::command
