#include <CLI/CLI.hpp>
#include <algorithm>

#include "buffer_file.hpp"
#include "command.hpp"
#include "file_io.hpp"
#include "inputs.hpp"

namespace miniinfer::command {
namespace {

constexpr std::size_t kShown = 20;

struct Options {
  CommonOptions common;
  ModelOptions model;
  std::string file;
};

Json to_json(const DeviceMemory& memory) {
  Json buffers = Json::array();
  for (const ArenaBuffer& buffer : memory.buffers) {
    buffers.push_back({{"name", buffer.name},
                       {"bytes", buffer.bytes},
                       {"begin", buffer.begin},
                       {"end", buffer.end},
                       {"offset", buffer.offset}});
  }
  return {{"device", memory.device},
          {"weights_bytes", memory.weights},
          {"arena_bytes", memory.activations + memory.workspace},
          {"activations_bytes", memory.activations},
          {"workspace_bytes", memory.workspace},
          {"lower_bound_bytes", memory.lower_bound},
          {"peak_bytes", memory.peak},
          {"buffers", std::move(buffers)}};
}

void print(const MemoryPlan& plan, Output& output) {
  std::vector<std::vector<std::string>> rows = {
      {"DEVICE", "ARENA", "LOWER BOUND", "WORKSPACE", "WEIGHTS", "PEAK", "BUFFERS"}};
  for (const DeviceMemory& memory : plan.devices) {
    rows.push_back({memory.device, human_bytes(memory.activations + memory.workspace),
                    human_bytes(memory.lower_bound), human_bytes(memory.workspace),
                    human_bytes(memory.weights), human_bytes(memory.peak),
                    std::to_string(memory.buffers.size())});
  }
  output.table(rows);
  if (!plan.unbounded.empty()) {
    output.print("more from %s on, whose size depends on data\n",
                 printable(plan.unbounded).c_str());
  }
  for (const DeviceMemory& memory : plan.devices) {
    std::vector<ArenaBuffer> buffers = memory.buffers;
    std::stable_sort(buffers.begin(), buffers.end(),
                     [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
    if (buffers.empty()) continue;
    output.print("\n");
    rows = {{"BYTES", "OFFSET", "STEPS", "BUFFER OF " + memory.device}};
    for (std::size_t i = 0; i < std::min(buffers.size(), kShown); ++i) {
      const ArenaBuffer& buffer = buffers[i];
      rows.push_back({std::to_string(buffer.bytes), std::to_string(buffer.offset),
                      std::to_string(buffer.begin) + "-" + std::to_string(buffer.end - 1),
                      buffer.name});
    }
    output.table(rows);
    if (buffers.size() > kShown) {
      output.note("%zu smaller ones: --json, -o F.csv\n", buffers.size() - kShown);
    }
  }
}

Outcome write(const MemoryPlan& plan, const std::string& path) {
  BufferList list;
  std::string devices;
  for (const DeviceMemory& memory : plan.devices) {
    devices += (devices.empty() ? "" : ", ") + memory.device;
    for (const ArenaBuffer& buffer : memory.buffers) {
      list.ids.push_back(std::to_string(list.ids.size()));
      list.buffers.push_back({buffer.bytes, buffer.begin, buffer.end});
    }
  }
  if (plan.devices.size() > 1) {
    return Outcome::fail(
        {Code::InvalidArgument, "-o writes one arena, the model has some on " + devices,
         "name one device: -d " + plan.devices.front().device},
        Stage::Usage);
  }
  Status status = write_file(path, buffers_text(list));
  return status.ok() ? Outcome::ok() : Outcome::fail(status, Stage::File, path);
}

Outcome run(const Options& options, Output& output) {
  output.declare({"model", "devices", "unbounded"});
  const std::string& path = options.model.model;
  output.document["model"] = path;
  Stage stage = Stage::Usage;
  Result<Runtime> runtime = make_runtime(options.common, output, stage);
  if (!runtime) return Outcome::fail(runtime.status(), stage);
  Result<Loaded> loaded =
      load_model(*runtime, options.model, options.common.devices, output, stage);
  if (!loaded) return Outcome::fail(loaded.status(), stage, path);
  std::vector<NamedShape> shapes;
  if (Outcome outcome = gather_shapes(loaded->session, options.model, shapes);
      !outcome.status.ok()) {
    return outcome;
  }
  const Result<MemoryPlan> plan = loaded->session.plan(shapes);
  if (!plan) return Outcome::fail(plan.status(), Stage::Run, path);
  output.document["devices"] = Json::array();
  for (const DeviceMemory& memory : plan->devices) {
    output.document["devices"].push_back(to_json(memory));
  }
  output.document["unbounded"] = json_text(plan->unbounded);
  print(*plan, output);
  return options.file.empty() ? Outcome::ok() : write(*plan, options.file);
}

}  // namespace

std::function<Outcome()> add_mem_plan(CLI::App& app, Output& output) {
  auto options = std::make_shared<Options>();
  add_model_options(app, options->common, options->model);
  app.add_option("-o", options->file, "write the buffers for mem pack (MiniMalloc's format)")
      ->type_name("BUFFERS.csv");
  add_common_options(app, options->common, output);
  return [options, &output] { return run(*options, output); };
}

}  // namespace miniinfer::command
