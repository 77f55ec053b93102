#include <fcntl.h>
#include <fnmatch.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>

#include "command.hpp"
#include "inputs.hpp"
#include "miniinfer/compare.hpp"

extern char** environ;

namespace miniinfer::command {
namespace {

namespace fs = std::filesystem;

struct Options {
  CommonOptions common;
  std::vector<std::string> folders;
  std::string filter = "*";
  std::string junit;
  double rtol = 1e-3;
  double atol = 1e-7;
  double deadline = 60;
  bool verbose = false;
  bool worker = false;
};

enum class Verdict { Passed, Failed, Skipped };

struct TestResult {
  Verdict verdict = Verdict::Passed;
  std::string code;  // of a skip or a failure
  std::string reason;
  double max_abs_error = 0;
  double max_rel_error = 0;
  std::map<std::string, int> nodes;
  double seconds = 0;
};

constexpr const char* kVerdicts[] = {"passed", "failed", "skipped"};

TestResult judge(const Status& status, std::string_view when) {
  TestResult result;
  // What this program does not do is a gap; everything else is a failure.
  result.verdict = status.code() == Code::Unsupported ? Verdict::Skipped : Verdict::Failed;
  result.code = to_string(status.code());
  result.reason = std::string(when) + ": " + std::string(status.message());
  if (!status.nodes().empty()) {
    result.reason += ": " + status.nodes()[0].op + ", " + status.nodes()[0].reason;
  }
  return result;
}

std::vector<fs::path> data_sets(const fs::path& test) {
  std::vector<fs::path> sets;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(test, error)) {
    if (entry.path().filename().string().starts_with("test_data_set_"))
      sets.push_back(entry.path());
  }
  std::ranges::sort(sets);
  return sets;
}

TestResult run_data_set(const Session& session, const fs::path& folder, const Options& options,
                        TestResult result) {
  std::vector<NamedTensor> inputs;
  if (!session.inputs().empty()) {
    Result<std::vector<NamedTensor>> read = read_data_set(folder, "input_", session.inputs());
    if (!read) return judge(read.status(), "inputs");
    inputs = std::move(*read);
  }
  Result<std::vector<NamedTensor>> expected = read_data_set(folder, "output_", session.outputs());
  if (!expected) return judge(expected.status(), "expected outputs");
  std::vector<Named> named;
  for (const NamedTensor& input : inputs) named.push_back({input.name, input.tensor});
  Result<Outputs> outputs = session.run(named);
  if (!outputs) return judge(outputs.status(), "run");
  for (const NamedTensor& want : *expected) {
    const Result<Comparison> compared =
        compare(outputs->get(want.name).value(), want.tensor, options.rtol, options.atol);
    if (!compared) {
      TestResult failed = judge(compared.status(), "output " + want.name);
      failed.verdict = Verdict::Failed;
      return failed;
    }
    result.max_abs_error = std::max(result.max_abs_error, compared->max_abs_error);
    result.max_rel_error = std::max(result.max_rel_error, compared->max_rel_error);
    if (!compared->equal) {
      result.verdict = Verdict::Failed;
      result.code = "WRONG";
      result.reason = "output " + want.name + ": " + std::to_string(compared->different) + " of " +
                      std::to_string(want.tensor.element_count()) + " elements differ, first at " +
                      std::to_string(compared->worst);
      return result;
    }
  }
  return result;
}

TestResult run_test(const Runtime& runtime, const fs::path& test, const Options& options) {
  LoadOptions load;
  load.contexts = 1;
  const std::string devices = options.common.devices.empty() ? "cpu" : options.common.devices;
  Result<Session> session = runtime.load(test / "model.onnx", devices, load);
  if (!session) return judge(session.status(), "load");
  const std::vector<fs::path> sets = data_sets(test);
  TestResult result;
  if (sets.empty()) {
    result.verdict = Verdict::Skipped;
    result.code = "NO_DATA";
    result.reason = "there is no test_data_set folder";
    return result;
  }
  for (const fs::path& set : sets) {
    result = run_data_set(*session, set, options, std::move(result));
    if (result.verdict != Verdict::Passed) return result;
  }
  if (const Result<Placement> placement = session->placement())
    result.nodes = placement->per_device;
  return result;
}

Json to_json(const TestResult& result) {
  return {{"status", kVerdicts[static_cast<int>(result.verdict)]},
          {"reason_code", result.code.empty() ? Json() : Json(result.code)},
          {"reason", result.reason.empty() ? Json() : Json(result.reason)},
          {"max_abs_error", result.max_abs_error},
          {"max_rel_error", result.max_rel_error},
          {"nodes", result.nodes},
          {"duration_ns", result.seconds * 1e9}};
}

TestResult from_json(const Json& json) {
  TestResult result;
  for (int i = 0; i < 3; ++i) {
    if (json["status"] == kVerdicts[i]) result.verdict = static_cast<Verdict>(i);
  }
  if (json["reason_code"].is_string()) result.code = json["reason_code"];
  if (json["reason"].is_string()) result.reason = json["reason"];
  result.max_abs_error = json["max_abs_error"];
  result.max_rel_error = json["max_rel_error"];
  result.nodes = json["nodes"].get<std::map<std::string, int>>();
  result.seconds = json["duration_ns"].get<double>() * 1e-9;
  return result;
}

// The child: a path a line on stdin, a result a line on stdout.
Outcome work(const Options& options, Output& output) {
  Result<Runtime> runtime = make_runtime(options.common);
  if (!runtime) return Outcome::fail(runtime.status(), Stage::Usage);
  std::string path;
  while (std::getline(std::cin, path)) {
    const auto begin = std::chrono::steady_clock::now();
    TestResult result = run_test(*runtime, path, options);
    result.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    output.print("%s\n",
                 to_json(result).dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
    output.flush();
  }
  return Outcome::ok();
}

// A child that runs tests and may die of one.
class Worker {
 public:
  explicit Worker(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {}
  ~Worker() { stop(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  TestResult run(const fs::path& test, double deadline_seconds) {
    if (pid_ <= 0 && !start()) return broken("INTERNAL", "the test process could not be started");
    const std::string line = test.string() + "\n";
    if (write(to_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
      stop();
      return broken("DIED", "the test process is gone");
    }
    std::string answer;
    const auto end =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(deadline_seconds);
    while (answer.empty() || answer.back() != '\n') {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                            end - std::chrono::steady_clock::now())
                            .count();
      pollfd waiting{from_, POLLIN, 0};
      if (left <= 0 || poll(&waiting, 1, static_cast<int>(left)) == 0) {
        stop();
        return broken("TIMEOUT", "no result in time");
      }
      char buffer[4096];
      const ssize_t got = read(from_, buffer, sizeof buffer);
      if (got <= 0) return died();
      answer.append(buffer, static_cast<std::size_t>(got));
    }
    const Json json = Json::parse(answer, nullptr, false);
    return json.is_discarded() ? broken("INTERNAL", "the answer makes no sense") : from_json(json);
  }

 private:
  static TestResult broken(const char* code, std::string reason) {
    TestResult result;
    result.verdict = Verdict::Failed;
    result.code = code;
    result.reason = std::move(reason);
    return result;
  }

  bool start() {
    int in[2];
    int out[2];
    if (pipe2(in, O_CLOEXEC) != 0) return false;
    if (pipe2(out, O_CLOEXEC) != 0) return false;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    std::vector<char*> argv;
    for (std::string& argument : arguments_) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const int error = posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    to_ = in[1];
    from_ = out[0];
    if (error != 0) pid_ = -1;
    return error == 0;
  }

  TestResult died() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    stop();
    return broken("DIED",
                  WIFSIGNALED(status)
                      ? "the test process died of signal " + std::to_string(WTERMSIG(status))
                      : "the test process ended with " + std::to_string(WEXITSTATUS(status)));
  }

  void stop() {
    if (to_ >= 0) close(to_);
    if (from_ >= 0) close(from_);
    to_ = from_ = -1;
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
  }

  std::vector<std::string> arguments_;
  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
};

// Folders with a model.onnx: those named, and those inside the ones named.
std::vector<fs::path> find_tests(const Options& options, Status& status) {
  std::vector<fs::path> tests;
  for (const std::string& folder : options.folders) {
    std::error_code error;
    if (fs::exists(fs::path(folder) / "model.onnx", error)) {
      tests.emplace_back(fs::path(folder).lexically_normal());
      continue;
    }
    std::vector<fs::path> inside;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      std::error_code ignored;
      if (fs::exists(entry.path() / "model.onnx", ignored)) inside.push_back(entry.path());
    }
    if (error || inside.empty()) {
      status = {Code::NotFound, folder + " has no ONNX backend test"};
      return {};
    }
    std::ranges::sort(inside);
    tests.insert(tests.end(), inside.begin(), inside.end());
  }
  std::erase_if(tests, [&](const fs::path& test) {
    return fnmatch(options.filter.c_str(), test.filename().c_str(), 0) != 0;
  });
  if (tests.empty()) status = {Code::InvalidArgument, "no test matches " + options.filter};
  return tests;
}

std::string xml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

Status write_junit(const std::string& path,
                   const std::vector<std::pair<std::string, TestResult>>& results) {
  const std::string temporary = path + ".part";
  std::ofstream file(temporary);
  file << "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"conformance\" tests=\""
       << results.size() << "\">\n";
  for (const auto& [name, result] : results) {
    file << "  <testcase name=\"" << xml(name) << "\" time=\"" << result.seconds << "\">";
    if (result.verdict == Verdict::Failed) {
      file << "<failure type=\"" << xml(result.code) << "\" message=\"" << xml(result.reason)
           << "\"/>";
    } else if (result.verdict == Verdict::Skipped) {
      file << "<skipped message=\"" << xml(result.reason) << "\"/>";
    }
    file << "</testcase>\n";
  }
  file << "</testsuite>\n";
  file.close();
  std::error_code error;
  if (file) fs::rename(temporary, path, error);
  if (!file || error) {
    fs::remove(temporary, error);
    return {Code::Unavailable, "writing " + path + " failed"};
  }
  return {};
}

Outcome run(const Options& options, Output& output) {
  if (options.worker) return work(options, output);
  Status status;
  const std::vector<fs::path> tests = find_tests(options, status);
  if (!status.ok()) {
    return Outcome::fail(status, status.code() == Code::NotFound ? Stage::File : Stage::Usage);
  }
  const std::string devices = options.common.devices.empty() ? "cpu" : options.common.devices;
  std::vector<std::string> arguments = {
      "miniinfer", "conformance", "--worker", "-d", devices, "--rtol", std::to_string(options.rtol),
      "--atol"};
  char atol[32];
  std::snprintf(atol, sizeof atol, "%g", options.atol);
  arguments.emplace_back(atol);
  for (const std::string& plugin : options.common.plugins) {
    arguments.insert(arguments.end(), {"--plugin", plugin});
  }
  for (const std::string& option : options.common.options) {
    arguments.insert(arguments.end(), {"--option", option});
  }
  arguments.insert(arguments.end(), {"--log", options.common.log, "--threads",
                                     std::to_string(options.common.threads), "worker"});
  Worker worker(std::move(arguments));
  const std::stop_token stop = interrupted();
  std::vector<std::pair<std::string, TestResult>> results;
  std::map<std::string, int> reasons;
  int counts[3] = {0, 0, 0};
  const auto begin = std::chrono::steady_clock::now();
  output.document["tests"] = Json::array();
  for (const fs::path& test : tests) {
    if (stop.stop_requested()) {
      return Outcome::fail({Code::Cancelled, "conformance was cancelled"}, Stage::Run);
    }
    const std::string name = test.filename().string();
    output.note("\r\033[K%zu/%zu %s", results.size() + 1, tests.size(), name.c_str());
    const TestResult result = worker.run(test, options.deadline);
    output.note("\r\033[K");
    ++counts[static_cast<int>(result.verdict)];
    if (result.verdict == Verdict::Failed || options.verbose) {
      output.print("%-7s  %s%s%s\n", kVerdicts[static_cast<int>(result.verdict)], name.c_str(),
                   result.reason.empty() ? "" : "  ", result.reason.c_str());
    }
    if (result.verdict == Verdict::Skipped) ++reasons[result.reason];
    Json json = {{"name", name},
                 {"path", test.string()},
                 {"device", devices},
                 {"rtol", options.rtol},
                 {"atol", options.atol}};
    json.update(to_json(result));
    output.document["tests"].push_back(std::move(json));
    results.emplace_back(name, result);
  }
  if (!reasons.empty()) {
    std::vector<std::pair<int, std::string>> sorted;
    for (const auto& [reason, count] : reasons) sorted.emplace_back(count, reason);
    std::ranges::sort(sorted, std::greater());
    std::vector<std::vector<std::string>> rows = {{"SKIPPED", "REASON"}};
    for (const auto& [count, reason] : sorted) rows.push_back({std::to_string(count), reason});
    output.table(rows);
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  output.document["summary"] = {{"passed", counts[0]},
                                {"failed", counts[1]},
                                {"skipped", counts[2]},
                                {"duration_ns", seconds * 1e9}};
  if (!options.junit.empty()) {
    if (Status written = write_junit(options.junit, results); !written.ok()) {
      return {kFile, written, options.junit};
    }
  }
  output.print("%d passed, %d failed, %d skipped\n", counts[0], counts[1], counts[2]);
  return counts[1] == 0 ? Outcome::ok() : Outcome::different();
}

}  // namespace

std::function<Outcome()> add_conformance(CLI::App& app, Output& output) {
  auto options = std::make_shared<Options>();
  add_common_options(app, options->common, output);
  app.add_option("DIR", options->folders, "test folders, or folders of them")->required();
  app.add_option("-d", options->common.devices, "devices in order of preference (cpu)")
      ->type_name("DEV,..");
  app.add_option("--filter", options->filter, "only tests whose name matches")->type_name("GLOB");
  app.add_option("--junit", options->junit, "write a JUnit report")->type_name("F");
  app.add_option("--rtol", options->rtol, "relative tolerance")->capture_default_str();
  app.add_option("--atol", options->atol, "absolute tolerance")->capture_default_str();
  app.add_option("--deadline", options->deadline, "seconds for one test")->capture_default_str();
  app.add_flag("-v,--verbose", options->verbose, "a line for every test");
  app.add_flag("--worker", options->worker)->group("");
  return [options, &output] { return run(*options, output); };
}

}  // namespace miniinfer::command
