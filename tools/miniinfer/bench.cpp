#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>

#include "command.hpp"
#include "inputs.hpp"

namespace miniinfer::command {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  CommonOptions common;
  ModelOptions model;
  double warmup_ms = 200;
  double duration_ms = 3000;
};

struct Latencies {
  std::vector<double> ns;  // sorted
  double sum = 0;
  double at(double q) const {
    return ns[std::min(ns.size() - 1,
                       static_cast<std::size_t>(q * static_cast<double>(ns.size())))];
  }
  // Half the width between the quartiles, relative to the median.
  double spread() const { return (at(0.75) - at(0.25)) / 2 / at(0.5); }
};

double load_average() {
  double loads[1] = {0};
  return getloadavg(loads, 1) == 1 ? loads[0] : 0;
}

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

Json environment(const Runtime& runtime) {
  utsname kernel{};
  uname(&kernel);
  const std::string governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  Json variables = Json::object();
  for (const char* name : {"MINIINFER_CPU_ISA", "MINIINFER_PLUGIN_PATH", "MINIINFER_PLUGINS"}) {
    if (const char* value = std::getenv(name)) variables[name] = value;
  }
  const Result<Device> cpu = runtime.device("cpu:0");
  return {{"cpu", cpu ? Json(cpu->name()) : Json()},
          {"threads", runtime.threads()},
          {"load_1m", load_average()},
          {"governor", governor.empty() ? Json() : Json(governor)},
          {"kernel", kernel.release},
          {"variables", std::move(variables)}};
}

struct Measured {
  Latencies latencies;
  double first_ns = 0;
  std::uint64_t warmup_runs = 0;
  double duration_ns = 0;
};

double timed_run(Binding& binding, Status& status) {
  const auto begin = Clock::now();
  status = binding.run(interrupted());
  return static_cast<double>((Clock::now() - begin).count());
}

Result<Measured> measure(const Session& session, const std::vector<Input>& inputs,
                         const Options& options) {
  Result<Binding> binding = session.bind();
  if (!binding) return binding.status();
  for (const Input& input : inputs) {
    if (Status status = binding->set(input.name, input.tensor); !status.ok()) return status;
  }
  Measured measured;
  Status status;
  measured.first_ns = timed_run(*binding, status);
  if (!status.ok()) return status;
  auto begin = Clock::now();
  const auto elapsed_ms = [&] {
    return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  };
  while (elapsed_ms() < options.warmup_ms) {
    (void)timed_run(*binding, status);
    if (!status.ok()) return status;
    ++measured.warmup_runs;
  }
  begin = Clock::now();
  std::vector<double>& ns = measured.latencies.ns;
  ns.reserve(1 << 16);
  do {
    ns.push_back(timed_run(*binding, status));
    if (!status.ok()) return status;
    measured.latencies.sum += ns.back();
  } while (elapsed_ms() < options.duration_ms);
  measured.duration_ns = elapsed_ms() * 1e6;
  std::sort(ns.begin(), ns.end());
  return measured;
}

std::string number(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// Microseconds with three digits that mean something.
std::string micros(double ns) {
  const double us = ns / 1000;
  return number(us < 10 ? "%.2f" : us < 1000 ? "%.1f" : "%.0f", us);
}

Outcome run(const Options& options, Output& output) {
  Result<Runtime> runtime = make_runtime(options.common);
  if (!runtime) return Outcome::fail(runtime.status(), Stage::Usage);
  Stage stage = Stage::Usage;
  Result<Loaded> loaded =
      load_model(*runtime, options.common, options.model, options.common.devices, output, stage);
  if (!loaded) return Outcome::fail(loaded.status(), stage, options.model.model);
  Result<std::vector<Input>> inputs = gather_inputs(loaded->session, options.model, "random");
  if (!inputs) return Outcome::fail(inputs.status(), Stage::Usage);
  Result<Measured> measured = measure(loaded->session, *inputs, options);
  if (!measured) return Outcome::fail(measured.status(), Stage::Run, options.model.model);

  std::vector<NamedShape> shapes;
  std::string described;
  Json input_json = Json::array();
  for (const Input& input : *inputs) {
    shapes.push_back({input.name, input.tensor.shape()});
    described += input.name + "=" + input.source + " " + to_string(input.tensor.type()) + ", ";
    input_json.push_back({{"name", input.name},
                          {"type", to_string(input.tensor.dtype())},
                          {"shape", json_shape(input.tensor.shape())},
                          {"source", input.source}});
  }
  const Latencies& times = measured->latencies;
  output.print("%swarm-up %.0f ms, %.2f s, %zu runs\n", described.c_str(), options.warmup_ms,
               measured->duration_ns * 1e-9, times.ns.size());

  Result<Placement> placement = loaded->session.placement();
  if (!placement) return Outcome::fail(placement.status(), Stage::Run);
  const Result<MemoryPlan> plan = loaded->session.plan(shapes);
  std::string devices;
  std::string nodes;
  for (const auto& [device, count] : placement->per_device) {
    if (device == "host-shape") continue;
    devices += (devices.empty() ? "" : ",") + device;
    nodes += (nodes.empty() ? "" : ",") + std::to_string(count) + "/" +
             std::to_string(placement->nodes.size());
  }
  std::uint64_t peak = 0;
  Json memory = Json::object();
  if (plan) {
    for (const DeviceMemory& device : plan->devices) {
      peak += device.peak;
      memory[device.device] = {{"weights", device.weights},
                               {"activations", device.activations},
                               {"workspace", device.workspace},
                               {"lower_bound", device.lower_bound},
                               {"peak", device.peak}};
    }
  }
  const double mean = times.sum / static_cast<double>(times.ns.size());
  output.table(
      {{"DEVICE", "THREADS", "LOAD ms", "FIRST us", "MEDIAN us", "P90", "P99", "SPREAD", "RUNS/s",
        "PEAK KiB", "NODES"},
       {devices, std::to_string(runtime->threads()),
        number("%.1f", static_cast<double>(loaded->load_ns) * 1e-6), micros(measured->first_ns),
        micros(times.at(0.5)), micros(times.at(0.9)), micros(times.at(0.99)),
        number("%.1f%%", times.spread() * 100), number("%.0f", 1e9 / mean),
        number("%.1f", static_cast<double>(peak) / 1024), nodes}});
  const double load = load_average();
  if (load > 1.2) {
    output.warn("busy", "load average " + number("%.1f", load) + " on " +
                            std::to_string(runtime->threads()) + " cores; expect noise");
  }
  output.document["environment"] = environment(*runtime);
  output.document["results"] = Json::array();
  output.document["results"].push_back({{"model", options.model.model},
                                        {"device", devices},
                                        {"threads", runtime->threads()},
                                        {"precision", options.model.precision},
                                        {"inputs", std::move(input_json)},
                                        {"load_ns", loaded->load_ns},
                                        {"first_run_ns", measured->first_ns},
                                        {"warmup_runs", measured->warmup_runs},
                                        {"runs", times.ns.size()},
                                        {"duration_ns", measured->duration_ns},
                                        {"latency_ns",
                                         {{"min", times.ns.front()},
                                          {"median", times.at(0.5)},
                                          {"mean", mean},
                                          {"p90", times.at(0.9)},
                                          {"p99", times.at(0.99)},
                                          {"max", times.ns.back()}}},
                                        {"spread", times.spread()},
                                        {"runs_per_s", 1e9 / mean},
                                        {"memory_bytes", std::move(memory)},
                                        {"nodes", placement->per_device}});
  return Outcome::ok();
}

}  // namespace

std::function<Outcome()> add_bench(CLI::App& app, Output& output) {
  auto options = std::make_shared<Options>();
  add_common_options(app, options->common, output);
  add_model_options(app, options->model);
  app.add_option("-d", options->common.devices, "devices in order of preference")
      ->type_name("DEV,..");
  app.add_option("--warmup", options->warmup_ms, "milliseconds")->capture_default_str();
  app.add_option("--duration", options->duration_ms, "milliseconds")->capture_default_str();
  return [options, &output] { return run(*options, output); };
}

}  // namespace miniinfer::command
