#include <CLI/CLI.hpp>
#include <filesystem>

#include "command.hpp"

namespace miniinfer::command {
namespace {

struct Options {
  CommonOptions common;
  ModelOptions model;
  bool placement = false;
  bool passes = false;
};

Json to_json(const TensorSpec& spec) {
  return {{"name", spec.name}, {"type", to_string(spec.dtype)}, {"shape", json_shape(spec.shape)}};
}

void print_specs(const char* label, const std::vector<TensorSpec>& specs, Output& output) {
  std::size_t width = 0;
  for (const TensorSpec& spec : specs) width = std::max(width, spec.name.size());
  for (const TensorSpec& spec : specs) {
    output.print("%-8s %-*s  %s\n", label, static_cast<int>(width), spec.name.c_str(),
                 to_string(spec).c_str());
  }
}

void print_passes(Output& output) {
  std::vector<std::vector<std::string>> rows = {{"PASS", "WHAT IT DOES"}};
  output.document["passes"] = Json::array();
  for (const PassInfo& pass : passes()) {
    rows.push_back({std::string(pass.name), std::string(pass.summary)});
    output.document["passes"].push_back({{"name", pass.name}, {"summary", pass.summary}});
  }
  output.table(rows);
}

void print_memory(const MemoryPlan& plan, const std::string& shapes, Output& output) {
  output.document["memory"] = Json::array();
  for (const DeviceMemory& memory : plan.devices) {
    const std::string device = plan.devices.size() > 1 ? memory.device + " " : "";
    output.print("memory   %s%sweights %s + activations %s + workspace %s, peak %s\n",
                 shapes.c_str(), device.c_str(), human_bytes(memory.weights).c_str(),
                 human_bytes(memory.activations).c_str(), human_bytes(memory.workspace).c_str(),
                 human_bytes(memory.peak).c_str());
    output.document["memory"].push_back({{"device", memory.device},
                                         {"weights_bytes", memory.weights},
                                         {"activations_bytes", memory.activations},
                                         {"workspace_bytes", memory.workspace},
                                         {"lower_bound_bytes", memory.lower_bound},
                                         {"peak_bytes", memory.peak}});
  }
  if (!plan.unbounded.empty()) {
    output.print("         more from %s on, whose size depends on data\n", plan.unbounded.c_str());
  }
}

Outcome run(const Options& options, Output& output) {
  if (options.passes) print_passes(output);
  const std::string& path = options.model.model;
  Result<Runtime> runtime = make_runtime(options.common);
  if (!runtime) return Outcome::fail(runtime.status(), Stage::Usage);
  Result<ModelSummary> summary = runtime->inspect(Model::file(path));
  if (!summary) return Outcome::fail(summary.status(), Stage::Load, path);

  std::error_code ignored;
  const std::uint64_t bytes = std::filesystem::file_size(path, ignored);
  std::string opsets;
  output.document["opsets"] = Json::object();
  for (const auto& [domain, opset] : summary->opsets) {
    opsets += ", " + (domain.empty() ? std::string("opset") : domain) + " " + std::to_string(opset);
    output.document["opsets"][domain] = opset;
  }
  std::string operators;
  for (const auto& [name, count] : summary->operators) {
    operators += (operators.empty() ? "" : ", ") + name + " " + std::to_string(count);
    output.document["operators"][name] = count;
  }
  output.print("model    %s, %s, IR %lld%s, %llu parameters\n",
               std::filesystem::path(path).filename().c_str(), human_bytes(bytes).c_str(),
               static_cast<long long>(summary->ir_version), opsets.c_str(),
               static_cast<unsigned long long>(summary->parameter_count));
  print_specs("input", summary->inputs, output);
  print_specs("output", summary->outputs, output);
  output.document["ir_version"] = summary->ir_version;
  output.document["parameters"] = summary->parameter_count;
  output.document["inputs"] = Json::array();
  output.document["outputs"] = Json::array();
  for (const TensorSpec& spec : summary->inputs) output.document["inputs"].push_back(to_json(spec));
  for (const TensorSpec& spec : summary->outputs)
    output.document["outputs"].push_back(to_json(spec));
  if (!summary->unsupported.empty()) {
    output.print("nodes    %d: %s\n", summary->node_count, operators.c_str());
    return Outcome::fail({Code::Unsupported,
                          std::to_string(summary->unsupported.size()) + " of " +
                              std::to_string(summary->node_count) + " nodes have no implementation",
                          "", summary->unsupported},
                         Stage::Load, path);
  }

  Stage stage = Stage::Usage;
  Result<Loaded> loaded =
      load_model(*runtime, options.common, options.model, options.common.devices, output, stage);
  if (!loaded) return Outcome::fail(loaded.status(), stage, path);
  Result<std::vector<NamedShape>> shapes = parse_shapes(options.model);
  if (!shapes) return Outcome::fail(shapes.status(), Stage::Usage);
  const Result<MemoryPlan> plan = loaded->session.plan(*shapes);
  if (!plan) {
    output.print("nodes    %d: %s\n", summary->node_count, operators.c_str());
    return Outcome::fail(plan.status(), Stage::Run, path);
  }
  Result<Placement> placement = loaded->session.placement();
  if (!placement) return Outcome::fail(placement.status(), Stage::Run, path);
  output.print("nodes    %d: %s; %d steps after fusion\n", summary->node_count, operators.c_str(),
               placement->steps);
  std::string free_sizes;
  for (const TensorSpec& spec : summary->inputs) {
    for (std::size_t i = 0; i < spec.dim_names.size(); ++i) {
      const std::string& name = spec.dim_names[i];
      if (spec.shape[i] < 0 && !name.empty() && shapes->empty() &&
          free_sizes.find(name + "=") == std::string::npos) {
        free_sizes += name + "=1 ";
      }
    }
  }
  if (!free_sizes.empty()) free_sizes.back() = ':', free_sizes += ' ';
  print_memory(*plan, free_sizes, output);
  std::string runs_on;
  for (const auto& [device, count] : placement->per_device) {
    runs_on += (runs_on.empty() ? "" : ", ") + device + " " + std::to_string(count) + "/" +
               std::to_string(placement->nodes.size());
  }
  output.print("runs on  %s\n", runs_on.c_str());
  output.document["steps"] = placement->steps;
  output.document["nodes"] = placement->per_device;
  if (options.placement) {
    std::vector<std::vector<std::string>> rows = {{"NODE", "OPERATOR", "DEVICE", "REASON"}};
    output.document["placement"] = Json::array();
    for (const PlacedNode& node : placement->nodes) {
      rows.push_back({node.name, node.op, node.device, node.reason});
      output.document["placement"].push_back({{"node", node.name},
                                              {"operator", node.op},
                                              {"device", node.device},
                                              {"reason", node.reason}});
    }
    output.print("\n");
    output.table(rows);
  }
  return Outcome::ok();
}

}  // namespace

std::function<Outcome()> add_inspect(CLI::App& app, Output& output) {
  auto options = std::make_shared<Options>();
  add_common_options(app, options->common, output);
  add_model_options(app, options->model);
  app.add_option("-d", options->common.devices, "devices in order of preference")
      ->type_name("DEV,..");
  app.add_flag("--placement", options->placement, "where each node runs, and why");
  app.add_flag("--passes", options->passes, "the passes there are");
  return [options, &output] { return run(*options, output); };
}

}  // namespace miniinfer::command
