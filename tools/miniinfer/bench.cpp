#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>

#include "child.hpp"
#include "measure.hpp"

namespace miniinfer::command {
namespace {

std::string number(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// Microseconds with three digits that mean something.
std::string micros(const Json& ns) {
  const double us = ns.get<double>() / 1000;
  return number(us < 10 ? "%.2f" : us < 1000 ? "%.1f" : "%.0f", us);
}

std::vector<std::string> cells(const Json& row) {
  std::uint64_t peak = 0;
  for (const Json& device : row["memory_bytes"]) peak += device["peak"].get<std::uint64_t>();
  int all = 0;
  for (const Json& count : row["nodes"]) all += count.get<int>();
  std::string nodes;
  for (const auto& [device, count] : row["nodes"].items()) {
    if (device == "host-shape") continue;
    nodes +=
        (nodes.empty() ? "" : ",") + std::to_string(count.get<int>()) + "/" + std::to_string(all);
  }
  const Json& latency = row["latency_ns"];
  return {row["device"],
          std::to_string(row["threads"].get<int>()),
          number("%.1f", row["load_ns"].get<double>() * 1e-6),
          micros(row["first_run_ns"]),
          micros(latency["median"]),
          micros(latency["p90"]),
          micros(latency["p99"]),
          number("%.1f%%", row["spread"].get<double>() * 100),
          number("%.0f", row["runs_per_s"].get<double>()),
          number("%.1f", static_cast<double>(peak) / 1024),
          nodes};
}

void print(const BenchOptions& options, Output& output) {
  const Json& rows = output.document["results"];
  if (rows.empty()) return;
  std::string line;
  for (const Json& input : rows[0]["inputs"]) {
    std::string sizes;
    for (const Json& size : input["shape"]) sizes += (sizes.empty() ? "" : ",") + size.dump();
    line += printable(input["name"].get<std::string>()) + "=" + input["source"].get<std::string>() +
            " " + input["type"].get<std::string>() + "[" + sizes + "], ";
  }
  line += number("warm-up %.0f ms, ", options.warmup_ms) +
          number("%.2f s", rows[0]["duration_ns"].get<double>() * 1e-9);
  if (rows.size() == 1) line += number(", %.0f runs", rows[0]["runs"].get<double>());
  output.print("%s\n", line.c_str());
  std::vector<std::vector<std::string>> table = {{"DEVICE", "THREADS", "LOAD ms", "FIRST us",
                                                  "MEDIAN us", "P90", "P99", "SPREAD", "RUNS/s",
                                                  "PEAK KiB", "NODES"}};
  for (const Json& row : rows) table.push_back(cells(row));
  output.table(table);
}

// What this program was called with, but for --threads.
std::vector<std::string> arguments_for(int threads) {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  std::string argument;
  std::getline(file, argument, '\0');  // its name
  while (std::getline(file, argument, '\0')) {
    if (argument == "--threads") {
      std::getline(file, argument, '\0');
    } else if (!argument.starts_with("--threads=")) {
      arguments.push_back(argument);
    }
  }
  arguments.insert(arguments.end(), {"--json", "--threads", std::to_string(threads)});
  return arguments;
}

Outcome outcome_of(const Json& error) {
  Code code = Code::Internal;
  for (int i = 0; i <= static_cast<int>(Code::Internal); ++i) {
    if (error["code"] == Json(lower(to_string(static_cast<Code>(i))))) code = static_cast<Code>(i);
  }
  const auto text = [&](const char* key) { return error[key].is_string() ? error[key] : Json(""); };
  std::vector<NodeReport> nodes;
  for (const Json& node : error["nodes"]) {
    nodes.push_back({node["name"], node["operator"], node["types"], node["reason"]});
  }
  return {error["exit_code"],
          Status(code, text("message").get<std::string>(), text("hint").get<std::string>(),
                 std::move(nodes)),
          text("where").get<std::string>(), true};
}

// One row, by a process of its own: a process has one pool of threads, made once.
Outcome measure_apart(int threads, Output& output, Json& row) {
  Result<Child> child = Child::start(arguments_for(threads));
  if (!child) return Outcome::fail(child.status(), Stage::Run);
  std::string text;
  while (true) {
    const Child::Event event = child->read(text, Child::TimePoint::max(), interrupted());
    if (event == Child::Event::End) break;
    if (event == Child::Event::Stopped) {
      return Outcome::fail({Code::Cancelled, "the measurement was cancelled"}, Stage::Run);
    }
  }
  const int status = child->wait();
  const Json document = Json::parse(text, nullptr, false);
  if (!document.is_object()) {
    return Outcome::fail({Code::Internal, "the measuring process ended with wait status " +
                                              std::to_string(status) + " and no result"},
                         Stage::Run);
  }
  output.add_warnings(document["warnings"]);
  if (document["error"].is_object()) return outcome_of(document["error"]);
  output.document["environment"] = document["environment"];
  row = document["results"][0];
  return row["verified"] == false ? Outcome::different() : Outcome::ok();
}

Outcome run(const BenchOptions& options, Output& output) {
  output.declare({"environment", "results"});
  const std::vector<int>& threads = options.common.threads;
  if (threads.size() > 1 && !options.profile.empty()) {
    return Outcome::fail(
        {Code::InvalidArgument, "--profile writes one run; --threads names several"}, Stage::Usage);
  }
  (void)interrupted();
  output.document["results"] = Json::array();
  int exit = kOk;
  for (std::size_t i = 0; i < std::max<std::size_t>(threads.size(), 1); ++i) {
    Json row;
    Outcome outcome =
        threads.size() > 1 ? measure_apart(threads[i], output, row) : measure(options, output, row);
    if (!row.is_null()) output.document["results"].push_back(std::move(row));
    if (!outcome.status.ok()) {
      print(options, output);
      return outcome;
    }
    exit = std::max(exit, outcome.exit);
  }
  print(options, output);
  return exit == kOk ? Outcome::ok() : Outcome::different();
}

}  // namespace

std::function<Outcome()> add_bench(CLI::App& app, Output& output) {
  auto options = std::make_shared<BenchOptions>();
  add_model_options(app, options->common, options->model);
  app.add_option("--warmup", options->warmup_ms, "milliseconds of runs that do not count")
      ->type_name("MS")
      ->check(CLI::Range(0.0, 1e9).description(""))
      ->capture_default_str();
  app.add_option("--duration", options->duration_ms, "milliseconds of runs that do")
      ->type_name("MS")
      ->check(CLI::Range(0.0, 1e9).description(""))
      ->capture_default_str();
  app.add_option("--profile", options->profile,
                 "write the steps of one run as a trace (Perfetto, chrome://tracing)")
      ->type_name("F.json");
  app.add_flag("--resident", options->resident,
               "inputs lie in the device's memory, so that no copy from the host is timed");
  app.add_flag_callback(
      "--no-verify", [options] { options->verify = false; },
      "do not compare the outputs with those of cpu:0");
  add_common_options(app, options->common, output);
  app.get_option("--threads")
      ->delimiter(',')
      ->expected(1, 64)
      ->allow_extra_args(false)
      ->type_name("N,..")
      ->description("threads of the CPU, a row for each; 0, or none given: all usable");
  return [options, &output] { return run(*options, output); };
}

}  // namespace miniinfer::command
