#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>

#include "command.hpp"
#include "file_io.hpp"
#include "inputs.hpp"
#include "miniinfer/compare.hpp"
#include "miniinfer/memory_snapshot.hpp"
#include "npy.hpp"

namespace miniinfer::command {
namespace {

struct Options {
  CommonOptions common;
  ModelOptions model;
  std::vector<std::string> outputs;  // NAME=@F.npy
  std::string all_outputs;           // F.npz
  std::string expected;              // F.npz or DIR
  std::string memory_snapshot;       // F.pickle, F.json or F.csv
  double rtol = 1e-3;
  double atol = 1e-5;
};

std::string element_text(const Tensor& tensor, const std::vector<double>& values, std::size_t i) {
  char text[48];
  if (is_float(tensor.dtype())) {
    const double size = std::abs(values[i]);
    const bool plain = size == 0 || (size >= 1e-3 && size < 1e5);
    std::snprintf(text, sizeof text, plain ? "%.3f" : "%.3e", values[i]);
  } else {
    std::snprintf(text, sizeof text, "%.0f", values[i]);
  }
  return text;
}

// The first row (the innermost axis) of a tensor, at most ten elements of it.
std::string first_row(const Tensor& tensor) {
  if (tensor.dtype() == DataType::String) {
    return tensor.strings().empty() ? "" : '"' + tensor.strings()[0] + '"';
  }
  const Result<std::vector<double>> values = to_doubles(tensor);
  if (!values) return "?";
  const std::size_t row =
      tensor.shape().empty() ? 1 : static_cast<std::size_t>(tensor.shape().back());
  std::string text;
  for (std::size_t i = 0; i < std::min<std::size_t>({row, values->size(), 10}); ++i) {
    text += (i > 0 ? " " : "") + element_text(tensor, *values, i);
  }
  return row > 10 ? text + " .." : text;
}

void print_outputs(const Outputs& outputs, Output& output) {
  std::vector<std::vector<std::string>> rows = {{"OUTPUT", "TYPE", "VALUES"}};
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto& [name, tensor] = outputs[i];
    rows.push_back({name, to_string(tensor.type()), first_row(tensor)});
    const auto row = static_cast<std::uint64_t>(
        tensor.shape().empty() ? 1 : std::max<std::int64_t>(tensor.shape().back(), 1));
    const std::uint64_t more = tensor.element_count() / row;
    if (more > 1) {
      rows.push_back({"", "",
                      std::to_string(more - 1) + (more == 2 ? " more row" : " more rows") +
                          ": -o " + printable(name) + "=@F.npy"});
    }
  }
  output.table(rows);
}

Status write_outputs(const Options& options, const Outputs& outputs) {
  for (const std::string& text : options.outputs) {
    const std::size_t equals = text.find("=@");
    Result<Tensor> tensor = outputs.get(text.substr(0, equals));
    if (!tensor) return tensor.status();
    if (Status status = write_npy(text.substr(equals + 2), *tensor); !status.ok()) return status;
  }
  if (options.all_outputs.empty()) return {};
  std::vector<NamedTensor> tensors;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    tensors.push_back({outputs[i].first, outputs[i].second});
  }
  return write_npz(options.all_outputs, tensors);
}

// Compares with what was expected; prints a row for each output.
Result<bool> check_expected(const Options& options, const Session& session, const Outputs& outputs,
                            Output& output) {
  Result<std::vector<NamedTensor>> expected =
      read_tensors(options.expected, "output_", session.outputs());
  if (!expected) return expected.status();
  bool all_equal = true;
  std::vector<std::vector<std::string>> rows = {{"EXPECTED", "RESULT", "MAX ABS", "MAX REL"}};
  output.document["expected"] = Json::array();
  for (const NamedTensor& want : *expected) {
    Result<Tensor> got = outputs.get(want.name);
    if (!got) return got.status();
    const Result<Comparison> result = compare(*got, want.tensor, options.rtol, options.atol);
    std::string verdict = "equal";
    std::string abs_error = "-";
    std::string rel_error = "-";
    if (!result) {
      verdict = std::string(result.status().message());
    } else {
      char text[32];
      std::snprintf(text, sizeof text, "%.2e", result->max_abs_error);
      abs_error = text;
      std::snprintf(text, sizeof text, "%.2e", result->max_rel_error);
      rel_error = text;
      if (!result->equal) {
        verdict = std::to_string(result->different) + " of " +
                  std::to_string(want.tensor.element_count()) + " differ, first at " +
                  std::to_string(result->worst);
      }
    }
    const bool equal = result && result->equal;
    all_equal = all_equal && equal;
    rows.push_back({want.name, verdict, abs_error, rel_error});
    output.document["expected"].push_back(
        {{"name", want.name},
         {"equal", equal},
         {"max_abs_error", result ? json_number(result->max_abs_error) : Json()},
         {"max_rel_error", result ? json_number(result->max_rel_error) : Json()}});
  }
  output.table(rows);
  return all_equal;
}

// Of the pool of the device that has most to do.
Outcome write_memory_snapshot(const Options& options, const Placement& placement) {
  std::string device;
  int most = 0;
  for (const auto& [name, count] : placement.per_device) {
    if (name == "host-shape" || count <= most) continue;
    device = name;
    most = count;
  }
  const Result<AllocatorPtr> pool = AllocatorFactory::get(device + "/caching");
  if (!pool) return Outcome::fail(pool.status(), Stage::Run, device);
  const Result<std::string> text = snapshot_file((*pool)->snapshot(), options.memory_snapshot);
  if (!text) return Outcome::fail(text.status(), Stage::Usage);
  Status status = write_file(options.memory_snapshot, *text);
  return status.ok() ? Outcome::ok() : Outcome::fail(status, Stage::File, options.memory_snapshot);
}

// Before the run: what it would be a pity to learn after it.
Status check_output_names(const Options& options, const Session& session) {
  std::string names;
  for (const TensorSpec& spec : session.outputs()) {
    names += (names.empty() ? "" : ", ") + spec.name;
  }
  for (const std::string& text : options.outputs) {
    const std::string name = text.substr(0, text.find("=@"));
    if (std::ranges::find(session.outputs(), name, &TensorSpec::name) == session.outputs().end()) {
      return {Code::InvalidArgument, "no output is called " + name, "outputs: " + names};
    }
  }
  return {};
}

Outcome run(Options& options, Output& output) {
  const std::string& where = options.model.model;
  output.declare({"outputs", "load_ns", "run_ns", "nodes", "peak_bytes", "expected"});
  for (const std::string& text : options.outputs) {
    if (text.find("=@") == std::string::npos || text.find("=@") == 0) {
      return Outcome::fail({Code::InvalidArgument, "-o " + text + " is not NAME=@F.npy"},
                           Stage::Usage);
    }
  }
  if (!options.memory_snapshot.empty()) {
    const Status status = snapshot_file({}, options.memory_snapshot).status();
    if (!status.ok()) return Outcome::fail(status, Stage::Usage);
  }
  Stage stage = Stage::Usage;
  Result<Runtime> runtime = make_runtime(options.common, output, stage);
  if (!runtime) return Outcome::fail(runtime.status(), stage);
  Result<Loaded> loaded =
      load_model(*runtime, options.model, options.common.devices, output, stage);
  if (!loaded) return Outcome::fail(loaded.status(), stage, where);
  const Session& session = loaded->session;
  Result<std::vector<Input>> inputs = gather_inputs(session, options.model, "");
  if (!inputs) return input_failure(inputs.status());
  if (Status status = check_output_names(options, session); !status.ok()) {
    return Outcome::fail(status, Stage::Usage);
  }
  const auto begin = std::chrono::steady_clock::now();
  Result<Outputs> outputs = session.run(named(*inputs), run_options(options.model));
  const auto end = std::chrono::steady_clock::now();
  if (!outputs) return Outcome::fail(outputs.status(), Stage::Run, where);
  const auto run_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count();

  output.document["outputs"] = Json::array();
  for (std::size_t i = 0; i < outputs->size(); ++i) {
    const auto& [name, tensor] = (*outputs)[i];
    output.document["outputs"].push_back({{"name", name},
                                          {"type", to_string(tensor.dtype())},
                                          {"shape", json_shape(tensor.shape())},
                                          {"device", tensor.device().id()}});
  }
  output.document["load_ns"] = loaded->load_ns;
  output.document["run_ns"] = run_ns;
  print_outputs(*outputs, output);
  if (Status status = write_outputs(options, *outputs); !status.ok()) {
    return Outcome::fail(status, Stage::File);
  }
  bool equal = true;
  if (!options.expected.empty()) {
    Result<bool> checked = check_expected(options, session, *outputs, output);
    if (!checked) return Outcome::fail(checked.status(), Stage::File);
    equal = *checked;
  }
  if (const Result<Placement> placement = session.placement()) {
    std::uint64_t peak = 0;
    std::vector<NamedShape> shapes;
    for (const Input& input : *inputs) shapes.push_back({input.name, input.tensor.shape()});
    if (const Result<MemoryPlan> plan = session.plan(shapes)) {
      for (const DeviceMemory& memory : plan->devices) peak += memory.peak;
    }
    output.document["nodes"] = placement->per_device;
    output.document["peak_bytes"] = peak;
    if (output.on_terminal()) {
      output.note("%s nodes, load %.1f ms, run %.3f ms, peak %s\n",
                  placement_text(*placement).c_str(), static_cast<double>(loaded->load_ns) * 1e-6,
                  static_cast<double>(run_ns) * 1e-6, human_bytes(peak).c_str());
    } else {
      say_placement(*placement, options.common);
    }
    if (!options.memory_snapshot.empty()) {
      const Outcome outcome = write_memory_snapshot(options, *placement);
      if (outcome.exit != kOk) return outcome;
    }
  }
  return equal ? Outcome::ok() : Outcome::different();
}

}  // namespace

std::function<Outcome()> add_run(CLI::App& app, Output& output) {
  auto options = std::make_shared<Options>();
  add_model_options(app, options->common, options->model);
  app.add_option("-o", options->outputs, "write an output to a file")
      ->type_name("NAME=@F.npy")
      ->expected(1)
      ->take_all();
  app.add_option("--outputs", options->all_outputs, "write all outputs to a file")
      ->type_name("F.npz");
  app.add_option("--expect", options->expected, "compare the outputs with these")
      ->type_name("F.npz|DIR");
  app.add_option("--memory-snapshot", options->memory_snapshot,
                 "write what lies where in memory to .pickle or .json")
      ->type_name("FILE");
  add_tolerances(app, options->rtol, options->atol);
  add_common_options(app, options->common, output);
  return [options, &output] { return run(*options, output); };
}

}  // namespace miniinfer::command
