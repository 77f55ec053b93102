#include "measure.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "environment.hpp"
#include "inputs.hpp"
#include "miniinfer/compare.hpp"
#include "miniinfer/device_context.hpp"
#include "sha256.hpp"
#include "trace_file.hpp"

namespace miniinfer::command {
namespace {

using Clock = std::chrono::steady_clock;

// How far an output may be from the reference: relative, absolute.
std::pair<double, double> tolerances(const std::string& precision) {
  return precision == "strict" ? std::pair(1e-3, 1e-4) : std::pair(2e-2, 2e-2);
}

struct Times {
  std::int64_t first_ns = 0;
  std::uint64_t warmup_runs = 0;
  std::int64_t duration_ns = 0;
  std::vector<std::int64_t> ns;  // sorted

  std::int64_t at(double q) const {
    return ns[std::min(ns.size() - 1,
                       static_cast<std::size_t>(q * static_cast<double>(ns.size())))];
  }
  double mean() const {
    double sum = 0;
    for (const std::int64_t time : ns) sum += static_cast<double>(time);
    return sum / static_cast<double>(ns.size());
  }
  // Half the width between the quartiles, relative to the median.
  double spread() const {
    return static_cast<double>(at(0.75) - at(0.25)) / 2 / static_cast<double>(at(0.5));
  }
};

std::int64_t nanoseconds_since(Clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
}

Status time_runs(Binding& binding, const BenchOptions& options, Times& times) {
  const RunOptions run = run_options(options.model);
  const auto timed_run = [&](std::int64_t& ns) {
    const auto begin = Clock::now();
    Status status = binding.run(run);
    ns = nanoseconds_since(begin);
    return status;
  };
  if (Status status = timed_run(times.first_ns); !status.ok()) return status;
  auto begin = Clock::now();
  std::int64_t ns = 0;
  while (static_cast<double>(nanoseconds_since(begin)) < options.warmup_ms * 1e6) {
    if (Status status = timed_run(ns); !status.ok()) return status;
    ++times.warmup_runs;
  }
  times.ns.reserve(1 << 16);
  begin = Clock::now();
  do {
    if (Status status = timed_run(ns); !status.ok()) return status;
    times.ns.push_back(ns);
    times.duration_ns = nanoseconds_since(begin);
  } while (static_cast<double>(times.duration_ns) < options.duration_ms * 1e6);
  std::sort(times.ns.begin(), times.ns.end());
  return {};
}

// The most that the device's pool had from the driver so far.
Json reserved_peak(const std::string& device) {
  const Result<AllocatorPtr> pool = AllocatorFactory::get(device + "/caching");
  return pool ? Json((*pool)->pool()->pool_stats().reserved_bytes.peak) : Json();
}

Json to_json(const MemoryPlan& plan) {
  Json json = Json::object();
  for (const DeviceMemory& device : plan.devices) {
    json[device.device] = {
        {"weights", device.weights},     {"activations", device.activations},
        {"workspace", device.workspace}, {"lower_bound", device.lower_bound},
        {"peak", device.peak},           {"reserved_peak", reserved_peak(device.device)}};
  }
  return json;
}

std::string device_list(const Placement& placement) {
  std::string devices;
  for (const auto& [device, count] : placement.per_device) {
    if (device != "host-shape") devices += (devices.empty() ? "" : ",") + device;
  }
  return devices;
}

Result<Device> main_device(const Runtime& runtime, const Session& session) {
  const Result<Placement> placement = session.placement();
  if (!placement) return placement.status();
  std::string most;
  for (const auto& [device, count] : placement->per_device) {
    if (device != "host-shape" && (most.empty() || count > placement->per_device.at(most))) {
      most = device;
    }
  }
  return runtime.device(most.empty() ? "cpu:0" : most);
}

// The tensors a binding takes: the inputs, or copies on the main device.
Result<std::vector<Tensor>> tensors_to_bind(const Runtime& runtime, const Session& session,
                                            const std::vector<Input>& inputs, bool resident) {
  std::vector<Tensor> tensors;
  for (const Input& input : inputs) tensors.push_back(input.tensor);
  if (!resident) return tensors;
  const Result<Device> device = main_device(runtime, session);
  if (!device) return device.status();
  for (Tensor& tensor : tensors) {
    Result<Tensor> moved = tensor.to(*device);
    if (!moved) return moved.status();
    tensor = std::move(*moved);
  }
  return tensors;
}

Result<Outputs> reference_run(const Runtime& runtime, const BenchOptions& options,
                              const std::vector<Input>& inputs) {
  LoadOptions load;
  load.contexts = 1;
  load.stop = interrupted();
  for (const PassInfo& pass : passes()) load.disabled_passes.emplace_back(pass.name);
  Result<Session> session = runtime.load(options.model.model, "cpu:0", load);
  if (!session) return session.status();
  RunOptions run;
  run.stop = interrupted();
  return session->run(named(inputs), run);
}

// Other data at the same addresses, still of a sensible range: floats in reverse order.
Status change(const std::vector<Input>& inputs, const std::vector<Tensor>& bound) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    Tensor tensor = inputs[i].tensor;
    if (tensor.dtype() != DataType::Float32) continue;
    const std::span<std::byte> bytes = tensor.mutable_bytes();
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    std::reverse(values.begin(), values.end());
    std::memcpy(bytes.data(), values.data(), bytes.size());
    if (bound[i].device().id() == tensor.device().id()) continue;
    Result<DeviceContext> context = DeviceContext::create(bound[i].device());
    if (!context) return context.status();
    Status copied = context->copy_to_device(bound[i].block(), bytes);
    if (copied.ok()) copied = context->sync();
    if (!copied.ok()) return copied;
  }
  return {};
}

// Whether the outputs are right; nullopt where that cannot be told, and a warning says why.
struct Verdict {
  std::optional<bool> right;
  std::optional<double> max_abs_error;
};

Verdict verify(const Runtime& runtime, const BenchOptions& options,
               const std::vector<Input>& inputs, const std::vector<Tensor>& bound, Binding& binding,
               Output& output) {
  const auto unknown = [&](const Status& status) {
    output.warn("not_verified", "the outputs were not verified: " + std::string(status.message()));
    return Verdict{};
  };
  if (Status status = change(inputs, bound); !status.ok()) return unknown(status);
  if (Status status = binding.run(run_options(options.model)); !status.ok()) return unknown(status);
  const Result<Outputs> want = reference_run(runtime, options, inputs);
  if (!want) return unknown(want.status());
  Verdict verdict{true, 0};
  for (std::size_t i = 0; i < want->size(); ++i) {
    const auto& [name, tensor] = (*want)[i];
    const Result<Tensor> got = binding.get(name);
    if (!got) return unknown(got.status());
    const auto [rtol, atol] = tolerances(options.model.precision);
    const Result<Comparison> compared = compare(*got, tensor, rtol, atol);
    if (!compared) return unknown(compared.status());
    verdict.max_abs_error = std::max(*verdict.max_abs_error, compared->max_abs_error);
    if (compared->equal) continue;
    verdict.right = false;
    output.warn("wrong", "output " + printable(name) + " differs from cpu:0 without passes in " +
                             std::to_string(compared->different) + " of " +
                             std::to_string(tensor.element_count()) + " elements");
  }
  return verdict;
}

}  // namespace

Outcome measure(const BenchOptions& options, Output& output, Json& row) {
  const std::string& model = options.model.model;
  Stage stage = Stage::Usage;
  const Result<Runtime> runtime = make_runtime(options.common, output, stage);
  if (!runtime) return Outcome::fail(runtime.status(), stage);
  Result<Loaded> loaded =
      load_model(*runtime, options.model, options.common.devices, output, stage);
  if (!loaded) return Outcome::fail(loaded.status(), stage, model);
  const Session& session = loaded->session;
  const Result<std::vector<Input>> inputs = gather_inputs(session, options.model, "random");
  if (!inputs) return input_failure(inputs.status());
  Result<Binding> binding = session.bind();
  if (!binding) return Outcome::fail(binding.status(), Stage::Run, model);
  const Result<std::vector<Tensor>> bound =
      tensors_to_bind(*runtime, session, *inputs, options.resident);
  if (!bound) return Outcome::fail(bound.status(), Stage::Run, model);
  for (std::size_t i = 0; i < inputs->size(); ++i) {
    if (Status status = binding->set((*inputs)[i].name, (*bound)[i]); !status.ok()) {
      return Outcome::fail(status, Stage::Usage);
    }
  }
  Times times;
  if (Status status = time_runs(*binding, options, times); !status.ok()) {
    return Outcome::fail(status, Stage::Run, model);
  }
  const Result<Placement> placement = session.placement();
  if (!placement) return Outcome::fail(placement.status(), Stage::Run, model);
  std::vector<NamedShape> shapes;
  for (const Input& input : *inputs) shapes.push_back({input.name, input.tensor.shape()});
  const Result<MemoryPlan> plan = session.plan(shapes);
  const Result<std::string> sha256 = sha256_of_file(model);
  const Verdict verdict =
      options.verify ? verify(*runtime, options, *inputs, *bound, *binding, output) : Verdict{};

  row = {{"model", model},
         {"model_sha256", sha256 ? Json(*sha256) : Json()},
         {"device", device_list(*placement)},
         {"threads", runtime->threads()},
         {"precision", options.model.precision},
         {"inputs", to_json(*inputs)},
         {"load_ns", loaded->load_ns},
         {"first_run_ns", times.first_ns},
         {"warmup_runs", times.warmup_runs},
         {"runs", times.ns.size()},
         {"duration_ns", times.duration_ns},
         {"latency_ns",
          {{"min", times.ns.front()},
           {"median", times.at(0.5)},
           {"mean", std::llround(times.mean())},
           {"p90", times.at(0.9)},
           {"p99", times.at(0.99)},
           {"max", times.ns.back()}}},
         {"spread", times.spread()},
         {"runs_per_s", 1e9 / times.mean()},
         {"memory_bytes", plan ? to_json(*plan) : Json()},
         {"nodes", placement->per_device},
         {"max_abs_error", json_number(verdict.max_abs_error)},
         {"verified", verdict.right ? Json(*verdict.right) : Json()}};
  output.document["environment"] = environment_json(*runtime);
  say_placement(*placement, options.common);
  if (load_average() > 1.2) {
    char text[80];
    std::snprintf(text, sizeof text, "load average %.1f on %d cores; expect noise", load_average(),
                  runtime->threads());
    output.warn("busy", text);
  }
  if (!options.profile.empty()) {
    Trace trace;
    RunOptions run = run_options(options.model);
    run.trace = &trace;
    if (Status status = binding->run(run); !status.ok()) {
      return Outcome::fail(status, Stage::Run, model);
    }
    if (Status status = write_trace(options.profile, trace, model); !status.ok()) {
      return Outcome::fail(status, Stage::File);
    }
  }
  return verdict.right.value_or(true) ? Outcome::ok() : Outcome::different();
}

}  // namespace miniinfer::command
