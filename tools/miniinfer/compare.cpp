#include "miniinfer/compare.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "command.hpp"
#include "inputs.hpp"

namespace miniinfer::command {
namespace {

struct Options {
  CommonOptions common;
  ModelOptions model;
  double rtol = 1e-3;
  double atol = 1e-4;
};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    parts.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// Runs the model on each device, strictly, over the same inputs; the first device is the reference.
Outcome run(const Options& options, Output& output) {
  output.declare({"reference", "inputs", "results"});
  Stage stage = Stage::Usage;
  Result<Runtime> runtime = make_runtime(options.common, output, stage);
  if (!runtime) return Outcome::fail(runtime.status(), stage);
  const std::vector<std::string> devices = split(options.common.devices);
  if (devices.size() < 2) {
    return Outcome::fail({Code::InvalidArgument, "one device has nothing to be compared with",
                          "name two or more: -d cpu,cuda:0"},
                         Stage::Usage);
  }
  if (std::ranges::find(devices, "") != devices.end()) {
    return Outcome::fail(
        {Code::InvalidArgument, "device list " + options.common.devices + " has an empty element"},
        Stage::Usage);
  }
  std::vector<std::vector<std::string>> rows = {
      {"DEVICE", "OUTPUT", "RESULT", "MAX ABS", "MAX REL"}};
  output.document["reference"] = devices.front();
  output.document["results"] = Json::array();
  std::vector<Input> inputs;
  Outputs reference;
  bool all_equal = true;
  for (const std::string& device : devices) {
    Result<Loaded> loaded = load_model(*runtime, options.model, device, output, stage);
    if (!loaded) return Outcome::fail(loaded.status(), stage, options.model.model);
    if (inputs.empty()) {
      Result<std::vector<Input>> made = gather_inputs(loaded->session, options.model, "random");
      if (!made) return input_failure(made.status());
      inputs = std::move(*made);
      output.document["inputs"] = to_json(inputs);
    }
    Result<Outputs> outputs = loaded->session.run(named(inputs), run_options(options.model));
    if (!outputs) return Outcome::fail(outputs.status(), Stage::Run, device);
    if (&device == &devices.front()) {
      reference = std::move(*outputs);
      continue;
    }
    for (std::size_t i = 0; i < reference.size(); ++i) {
      const auto& [name, want] = reference[i];
      const Result<Comparison> result =
          compare((*outputs)[i].second, want, options.rtol, options.atol);
      if (!result) return Outcome::fail(result.status(), Stage::Run, device + ", output " + name);
      char abs_error[32];
      char rel_error[32];
      std::snprintf(abs_error, sizeof abs_error, "%.2e", result->max_abs_error);
      std::snprintf(rel_error, sizeof rel_error, "%.2e", result->max_rel_error);
      rows.push_back({device, name,
                      result->equal ? "equal" : std::to_string(result->different) + " differ",
                      abs_error, rel_error});
      output.document["results"].push_back({{"device", device},
                                            {"output", name},
                                            {"equal", result->equal},
                                            {"different", result->different},
                                            {"max_abs_error", json_number(result->max_abs_error)},
                                            {"max_rel_error", json_number(result->max_rel_error)}});
      all_equal = all_equal && result->equal;
    }
  }
  output.table(rows);
  return all_equal ? Outcome::ok() : Outcome::different();
}

}  // namespace

std::function<Outcome()> add_compare(CLI::App& app, Output& output) {
  auto options = std::make_shared<Options>();
  add_model_options(app, options->common, options->model);
  app.get_option("-d")
      ->description("devices to compare, the reference first; each strictly")
      ->type_name("DEV,DEV..")
      ->required();
  add_tolerances(app, options->rtol, options->atol);
  add_common_options(app, options->common, output);
  return [options, &output] { return run(*options, output); };
}

}  // namespace miniinfer::command
