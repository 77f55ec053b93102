#include <CLI/CLI.hpp>
#include <filesystem>

#include "command.hpp"
#include "inputs.hpp"

namespace miniinfer::command {
namespace {

struct Options {
  CommonOptions common;
  ModelOptions model;
  bool placement = false;
  bool passes = false;
};

Json to_json(const TensorSpec& spec) {
  Json names = Json::array();
  for (const std::string& name : spec.dim_names) names.push_back(json_text(name));
  return {{"name", spec.name},
          {"type", to_string(spec.dtype)},
          {"shape", spec.known_rank ? json_shape(spec.shape) : Json()},
          {"dim_names", spec.known_rank ? std::move(names) : Json()}};
}

void print_specs(const char* label, const std::vector<TensorSpec>& specs, Output& output) {
  std::size_t width = 0;
  for (const TensorSpec& spec : specs) width = std::max(width, printable(spec.name).size());
  for (const TensorSpec& spec : specs) {
    output.print("%-8s %-*s  %s\n", label, static_cast<int>(width), printable(spec.name).c_str(),
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
  output.document["unbounded"] = json_text(plan.unbounded);
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
    output.print("         more from %s on, whose size depends on data\n",
                 printable(plan.unbounded).c_str());
  }
}

// What of each device's work is replayed in one piece.
void print_captures(const std::vector<Captured>& captures, Output& output) {
  output.document["captures"] = Json::array();
  for (const Captured& captured : captures) {
    output.print("%s replays %d of %d kernels in %d piece%s%s%s\n", captured.device.c_str(),
                 captured.steps, captured.kernels, captured.pieces, captured.pieces == 1 ? "" : "s",
                 captured.reason.empty() ? "" : ": ", printable(captured.reason).c_str());
    output.document["captures"].push_back({{"device", captured.device},
                                           {"kernels", captured.kernels},
                                           {"steps", captured.steps},
                                           {"pieces", captured.pieces},
                                           {"reason", json_text(captured.reason)}});
  }
}

Outcome run(const Options& options, Output& output) {
  output.declare({"model", "model_bytes", "ir_version", "producer", "opsets", "operators",
                  "node_count", "parameters", "inputs", "outputs", "memory", "unbounded", "steps",
                  "nodes", "placement", "captures", "passes"});
  if (options.passes) print_passes(output);
  const std::string& path = options.model.model;
  Stage stage = Stage::Usage;
  Result<Runtime> runtime = make_runtime(options.common, output, stage);
  if (!runtime) return Outcome::fail(runtime.status(), stage);
  Result<ModelSummary> summary = runtime->inspect(Model::file(path));
  if (!summary) return Outcome::fail(summary.status(), Stage::Load, path);

  std::error_code ignored;
  const std::uint64_t bytes = std::filesystem::file_size(path, ignored);
  std::string opsets;
  output.document["opsets"] = Json::object();
  for (const auto& [domain, opset] : summary->opsets) {
    opsets += ", " + (domain.empty() ? std::string("opset") : printable(domain)) + " " +
              std::to_string(opset);
    output.document["opsets"][domain.empty() ? "ai.onnx" : domain] = opset;
  }
  std::string operators;
  output.document["operators"] = Json::object();
  for (const auto& [name, count] : summary->operators) {
    operators += (operators.empty() ? "" : ", ") + printable(name) + " " + std::to_string(count);
    output.document["operators"][name] = count;
  }
  output.print("model    %s, %s, IR %lld%s, %llu parameters\n",
               printable(std::filesystem::path(path).filename().string(), 256).c_str(),
               human_bytes(bytes).c_str(), static_cast<long long>(summary->ir_version),
               opsets.c_str(), static_cast<unsigned long long>(summary->parameter_count));
  print_specs("input", summary->inputs, output);
  print_specs("output", summary->outputs, output);
  output.document["model"] = path;
  output.document["model_bytes"] = bytes;
  output.document["producer"] = json_text(summary->producer);
  output.document["node_count"] = summary->node_count;
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

  Result<Loaded> loaded =
      load_model(*runtime, options.model, options.common.devices, output, stage);
  if (!loaded) return Outcome::fail(loaded.status(), stage, path);
  std::vector<NamedShape> shapes;
  if (Outcome outcome = gather_shapes(loaded->session, options.model, shapes);
      !outcome.status.ok()) {
    return outcome;
  }
  const Result<MemoryPlan> plan = loaded->session.plan(shapes);
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
      if (spec.shape[i] < 0 && !name.empty() && shapes.empty() &&
          free_sizes.find(printable(name) + "=") == std::string::npos) {
        free_sizes += printable(name) + "=1 ";
      }
    }
  }
  if (!free_sizes.empty()) free_sizes.back() = ':', free_sizes += ' ';
  print_memory(*plan, free_sizes, output);
  output.print("runs on  %s\n", placement_text(*placement).c_str());
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
                                              {"reason", json_text(node.reason)}});
    }
    output.print("\n");
    output.table(rows);
    print_captures(placement->captures, output);
  }
  return Outcome::ok();
}

}  // namespace

std::function<Outcome()> add_inspect(CLI::App& app, Output& output) {
  auto options = std::make_shared<Options>();
  add_model_options(app, options->common, options->model);
  app.add_flag("--placement", options->placement, "where each node runs, and why");
  app.add_flag("--passes", options->passes, "the passes there are");
  add_common_options(app, options->common, output);
  return [options, &output] { return run(*options, output); };
}

}  // namespace miniinfer::command
