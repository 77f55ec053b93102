#include <fnmatch.h>
#include <sys/wait.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>

#include "child.hpp"
#include "command.hpp"
#include "file_io.hpp"
#include "inputs.hpp"
#include "miniinfer/compare.hpp"

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
  std::optional<double> max_abs_error;  // where outputs could be compared
  std::optional<double> max_rel_error;
  std::map<std::string, int> nodes;
  double seconds = 0;
};

constexpr const char* kVerdicts[] = {"passed", "failed", "skipped"};

TestResult judge(const Status& status, std::string_view when) {
  TestResult result;
  // What this program does not do is a gap; everything else is a failure.
  result.verdict = status.code() == Code::Unsupported ? Verdict::Skipped : Verdict::Failed;
  result.code = lower(to_string(status.code()));
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
    result.max_abs_error = std::max(result.max_abs_error.value_or(0), compared->max_abs_error);
    result.max_rel_error = std::max(result.max_rel_error.value_or(0), compared->max_rel_error);
    if (!compared->equal) {
      result.verdict = Verdict::Failed;
      result.code = "wrong";
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
    result.code = "no_data";
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
          {"reason_code", json_text(result.code)},
          {"reason", json_text(result.reason)},
          {"max_abs_error", json_number(result.max_abs_error)},
          {"max_rel_error", json_number(result.max_rel_error)},
          {"nodes", result.nodes},
          {"duration_ns", std::llround(result.seconds * 1e9)}};
}

TestResult from_json(const Json& json) {
  TestResult result;
  for (int i = 0; i < 3; ++i) {
    if (json["status"] == kVerdicts[i]) result.verdict = static_cast<Verdict>(i);
  }
  if (json["reason_code"].is_string()) result.code = json["reason_code"];
  if (json["reason"].is_string()) result.reason = json["reason"];
  if (json["max_abs_error"].is_number()) result.max_abs_error = json["max_abs_error"];
  if (json["max_rel_error"].is_number()) result.max_rel_error = json["max_rel_error"];
  result.nodes = json["nodes"].get<std::map<std::string, int>>();
  result.seconds = json["duration_ns"].get<double>() * 1e-9;
  return result;
}

// The child: a path a line on stdin, a result a line on stdout.
Outcome work(const Options& options, Output& output) {
  Result<Runtime> runtime = make_runtime(options.common, output);
  if (!runtime) return Outcome::fail(runtime.status(), Stage::Usage);
  std::string path;
  while (std::getline(std::cin, path)) {
    const auto begin = std::chrono::steady_clock::now();
    TestResult result = run_test(*runtime, path, options);
    result.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    output.print("%s\n",
                 to_json(result).dump(-1, ' ', true, Json::error_handler_t::replace).c_str());
    output.flush();
  }
  return Outcome::ok();
}

// A child that runs tests and may die of one.
class Worker {
 public:
  explicit Worker(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {}

  TestResult run(const fs::path& test, double deadline_seconds, const std::stop_token& stop) {
    if (!child_) {
      Result<Child> started = Child::start(arguments_);
      if (!started) return broken("internal", std::string(started.status().message()));
      child_.emplace(std::move(*started));
    }
    if (!child_->write(test.string() + "\n")) return died();
    const auto end =
        std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                               std::chrono::duration<double>(deadline_seconds));
    std::string answer;
    while (answer.empty() || answer.back() != '\n') {
      switch (child_->read(answer, end, stop)) {
        case Child::Event::Text:
          continue;
        case Child::Event::End:
          return died();
        case Child::Event::Late:
          child_.reset();
          return broken("timeout", "no result in time");
        case Child::Event::Stopped:
          child_.reset();
          return broken("cancelled", "the caller asked to stop");
      }
    }
    const Json json = Json::parse(answer, nullptr, false);
    return json.is_discarded() ? broken("internal", "the answer makes no sense") : from_json(json);
  }

 private:
  static TestResult broken(const char* code, std::string reason) {
    TestResult result;
    result.verdict = Verdict::Failed;
    result.code = code;
    result.reason = std::move(reason);
    return result;
  }

  TestResult died() {
    const int status = child_->wait();
    child_.reset();
    return broken("died",
                  WIFSIGNALED(status)
                      ? "the test process died of signal " + std::to_string(WTERMSIG(status))
                      : "the test process ended with " + std::to_string(WEXITSTATUS(status)));
  }

  std::vector<std::string> arguments_;
  std::optional<Child> child_;
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
  for (const char c : printable(text, 4096)) {
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
        out += c;
    }
  }
  return out;
}

Status write_junit(const std::string& path,
                   const std::vector<std::pair<std::string, TestResult>>& results) {
  std::ostringstream text;
  text << "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"conformance\" tests=\""
       << results.size() << "\">\n";
  for (const auto& [name, result] : results) {
    text << "  <testcase name=\"" << xml(name) << "\" time=\"" << result.seconds << "\">";
    if (result.verdict == Verdict::Failed) {
      text << "<failure type=\"" << xml(result.code) << "\" message=\"" << xml(result.reason)
           << "\"/>";
    } else if (result.verdict == Verdict::Skipped) {
      text << "<skipped message=\"" << xml(result.reason) << "\"/>";
    }
    text << "</testcase>\n";
  }
  text << "</testsuite>\n";
  return write_file(path, text.str());
}

Outcome run(const Options& options, Output& output) {
  if (options.worker) return work(options, output);
  output.declare({"summary", "tests"});
  const std::stop_token stop = interrupted();
  Status status;
  const std::vector<fs::path> tests = find_tests(options, status);
  if (!status.ok()) {
    return Outcome::fail(status, status.code() == Code::NotFound ? Stage::File : Stage::Usage);
  }
  const std::string devices = options.common.devices.empty() ? "cpu" : options.common.devices;
  std::vector<std::string> arguments = {
      "conformance", "--worker", "-d", devices, "--rtol", std::to_string(options.rtol), "--atol"};
  char atol[32];
  std::snprintf(atol, sizeof atol, "%g", options.atol);
  arguments.emplace_back(atol);
  for (const std::string& plugin : options.common.plugins) {
    arguments.insert(arguments.end(), {"--plugin", plugin});
  }
  for (const std::string& option : options.common.options) {
    arguments.insert(arguments.end(), {"--option", option});
  }
  const int threads = options.common.threads.empty() ? 0 : options.common.threads.front();
  arguments.insert(arguments.end(),
                   {"--log", options.common.log, "--threads", std::to_string(threads), "worker"});
  Worker worker(std::move(arguments));
  std::vector<std::pair<std::string, TestResult>> results;
  std::map<std::string, int> reasons;
  int counts[3] = {0, 0, 0};
  const auto begin = std::chrono::steady_clock::now();
  output.document["tests"] = Json::array();
  for (const fs::path& test : tests) {
    const std::string name = test.filename().string();
    output.note("\r\033[K%zu/%zu %s", results.size() + 1, tests.size(), printable(name).c_str());
    const TestResult result = worker.run(test, options.deadline, stop);
    output.note("\r\033[K");
    if (stop.stop_requested()) {
      return Outcome::fail({Code::Cancelled, "conformance was cancelled"}, Stage::Run);
    }
    ++counts[static_cast<int>(result.verdict)];
    if (result.verdict == Verdict::Failed || options.verbose) {
      output.print("%-7s  %s%s%s\n", kVerdicts[static_cast<int>(result.verdict)],
                   printable(name, 256).c_str(), result.reason.empty() ? "" : "  ",
                   printable(result.reason, 4096).c_str());
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
                                {"duration_ns", std::llround(seconds * 1e9)}};
  if (!options.junit.empty()) {
    if (Status written = write_junit(options.junit, results); !written.ok()) {
      return Outcome::fail(std::move(written), Stage::File);
    }
  }
  output.print("%d passed, %d failed, %d skipped\n", counts[0], counts[1], counts[2]);
  return counts[1] == 0 ? Outcome::ok() : Outcome::different();
}

}  // namespace

std::function<Outcome()> add_conformance(CLI::App& app, Output& output) {
  auto options = std::make_shared<Options>();
  add_common_options(app, options->common, output);
  app.add_option("DIR", options->folders, "test folders, or folders of them")
      ->required()
      ->type_name("");
  app.add_option("-d", options->common.devices, "devices in order of preference (cpu)")
      ->type_name("DEV,..");
  app.add_option("--filter", options->filter, "only tests whose name matches")->type_name("GLOB");
  app.add_option("--junit", options->junit, "write a JUnit report")->type_name("F.xml");
  add_tolerances(app, options->rtol, options->atol);
  app.add_option("--deadline", options->deadline, "seconds that one test may take")
      ->type_name("S")
      ->capture_default_str();
  app.add_flag("-v,--verbose", options->verbose, "a line for every test");
  app.add_flag("--worker", options->worker)->group("");
  return [options, &output] { return run(*options, output); };
}

}  // namespace miniinfer::command
