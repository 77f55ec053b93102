#include "miniinfer/runtime.hpp"

#include <algorithm>
#include <map>

#include "core/base/format.hpp"
#include "core/base/log.hpp"
#include "core/cpu/backend.hpp"
#include "core/ops/operator.hpp"
#include "core/passes/pass.hpp"
#include "core/runtime/commit.hpp"
#include "core/runtime/device_list.hpp"
#include "core/runtime/evaluate.hpp"
#include "core/runtime/load_model.hpp"
#include "core/runtime/session_impl.hpp"
#include "miniinfer/abi/plugin.h"

namespace miniinfer {
namespace {

// What a precision means to passes and kernels. TF32 is a permission, which a device that has no
// such arithmetic does not use; the narrow types are computed with where the first device has them.
Status set_precision(Precision precision, ProgramShared& shared) {
  if (precision == Precision::Strict) return {};
  shared.math = MINIINFER_MATH_CONTRACT;
  if (precision == Precision::TF32) {
    shared.math |= MINIINFER_MATH_TF32;
    return {};
  }
  const DataType type = precision == Precision::FP16 ? DataType::Float16 : DataType::BFloat16;
  const OpenDevice& device = *shared.devices.front();
  if ((device.info.dtypes >> static_cast<unsigned>(type) & 1) == 0) {
    return {Code::Unsupported,
            format("%s does not compute in %s", std::string(device.device.id()).c_str(),
                   std::string(to_string(type)).c_str()),
            "use --precision strict"};
  }
  shared.passes.compute = type;
  shared.passes.narrow_constants = std::make_shared<NarrowConstants>();
  return {};
}

// Each session counts and limits for itself, over the device's own allocator.
ConstantStore::AllocatorOf session_allocators(const std::vector<MemoryLimit>& limits) {
  auto made = std::make_shared<std::map<const OpenDevice*, AllocatorPtr>>();
  auto mutex = std::make_shared<std::mutex>();
  return [=](const OpenDevice& device) {
    const std::lock_guard lock(*mutex);
    AllocatorPtr& allocator = (*made)[&device];
    if (allocator) return allocator;
    allocator = tracking_allocator(device.allocator);
    for (const MemoryLimit& limit : limits) {
      if (limit.device == device.device.id()) {
        allocator = limit_allocator(allocator, limit.bytes, limit.device + " (this session)");
      }
    }
    return allocator;
  };
}

Result<std::vector<MemoryLimit>> resolve_limits(const std::vector<MemoryLimit>& limits) {
  std::vector<MemoryLimit> resolved;
  for (const MemoryLimit& limit : limits) {
    Result<Device> device = BackendRegistry::instance().find(limit.device);
    if (!device) return device.status();
    resolved.push_back({std::string(device->id()), limit.bytes});
  }
  return resolved;
}

bool fixed_inputs(const std::vector<TensorSpec>& inputs) {
  return std::all_of(inputs.begin(), inputs.end(), [](const TensorSpec& spec) {
    return spec.known_rank && std::count(spec.shape.begin(), spec.shape.end(), -1) == 0;
  });
}

}  // namespace

std::string_view version() noexcept { return MINIINFER_VERSION; }
std::string_view commit() noexcept { return MINIINFER_COMMIT; }
std::string_view abi_version() noexcept {
  static_assert(MINIINFER_ABI_MAJOR == 0 && MINIINFER_ABI_MINOR == 1);
  return "v0.1";
}

std::function<void(Level, std::string_view, std::string_view)> log_to_stderr() {
  return [sink = stderr_sink()](Level level, std::string_view component, std::string_view text) {
    sink(static_cast<int>(level), component, text);
  };
}

Model Model::file(std::filesystem::path path) {
  Model model;
  model.path = std::move(path);
  return model;
}

Model Model::bytes(std::span<const std::byte> data, std::shared_ptr<void> keep, External external) {
  Model model;
  model.data = data;
  model.keep = std::move(keep);
  model.external = std::move(external);
  return model;
}

struct Runtime::Impl {
  RuntimeOptions options;
  std::shared_ptr<const void> keep_open = BackendRegistry::instance().keep_open();
};

Runtime::Runtime(RuntimeOptions options) : impl_(std::make_shared<Impl>()) {
  impl_->options = std::move(options);
  const RuntimeOptions& chosen = impl_->options;
  HostSettings settings;
  if (chosen.log) {
    settings.log = [log = chosen.log](int level, std::string_view component,
                                      std::string_view text) {
      log(static_cast<Level>(level), component, text);
    };
  }
  settings.level = static_cast<int>(chosen.level);
  settings.threads = chosen.threads;
  settings.cache = chosen.cache;
  settings.options = chosen.options;
  configure_host(settings);
  BackendRegistry& registry = BackendRegistry::instance();
  if (Status status = registry.add_builtin("cpu", miniinfer_cpu_entry); !status.ok()) {
    log(MINIINFER_LOG_ERROR, "cpu", status.to_string());
  }
  registry.scan(chosen.plugin_dirs);
}

std::vector<Device> Runtime::devices() const { return BackendRegistry::instance().devices(); }
std::vector<PluginReport> Runtime::plugins() const { return BackendRegistry::instance().reports(); }
std::vector<std::string> Runtime::searched() const {
  return BackendRegistry::instance().searched();
}

Result<Device> Runtime::device(std::string_view id) const {
  return BackendRegistry::instance().find(id);
}

Status Runtime::add_plugin(const std::filesystem::path& file) {
  return BackendRegistry::instance().add_file(file, "add_plugin");
}

PluginReport Runtime::check_plugin(const std::filesystem::path& file) const {
  return BackendRegistry::instance().check_file(file);
}

int Runtime::threads() const noexcept { return host_threads(); }

Result<Session> Runtime::load(const std::filesystem::path& file, std::string_view devices,
                              const LoadOptions& options) const {
  return load(Model::file(file), devices, options);
}

Result<Session> Runtime::load(const Model& model, std::string_view device_list,
                              const LoadOptions& options) const {
  const auto progress = [&](double fraction, std::string_view stage) {
    if (options.progress) options.progress(fraction, stage);
  };
  Result<DeviceList> devices = open_device_list(device_list);
  if (!devices) return devices.status();
  for (const std::string& warning : devices->warnings) log(MINIINFER_LOG_WARN, "devices", warning);
  Result<OpenDevicePtr> host = open_host();
  if (!host) return host.status();
  Result<std::vector<MemoryLimit>> limits = resolve_limits(options.limits);
  if (!limits) return limits.status();

  progress(0.1, "reading");
  Result<LoadedModel> loaded = read_model(model);
  if (!loaded) return loaded.status();
  if (options.stop.stop_requested()) return Status(Code::Cancelled, "loading was cancelled");

  progress(0.4, "simplifying");
  PassContext passes;
  passes.evaluate = make_evaluator(*host);
  if (Status status = run_passes(PassStage::Model, loaded->graph, passes, options.disabled_passes);
      !status.ok()) {
    return status;
  }
  if (options.stop.stop_requested()) return Status(Code::Cancelled, "loading was cancelled");

  auto shared = std::make_shared<ProgramShared>();
  shared->keep_open = impl_->keep_open;
  shared->devices = std::move(devices->devices);
  shared->host = *host;
  if (Status status = set_precision(options.precision, *shared); !status.ok()) return status;
  shared->allocator_of = session_allocators(*limits);
  shared->constants = std::make_unique<ConstantStore>(shared->allocator_of);
  shared->disabled_passes = options.disabled_passes;
  shared->contexts = std::max(options.contexts, 1);
  shared->limit_of = [limits = *limits](const OpenDevice& device) {
    std::uint64_t least = ~std::uint64_t{0};
    for (const MemoryLimit& limit : limits) {
      if (limit.device == device.device.id()) least = std::min(least, limit.bytes);
    }
    return least;
  };
  auto impl = std::make_shared<Session::Impl>();
  impl->inputs = std::move(loaded->inputs);
  impl->outputs = std::move(loaded->outputs);
  impl->shared = shared;
  impl->program = std::make_shared<Program>(std::move(loaded->graph), shared,
                                            std::vector<bool>(impl->inputs.size()));

  // A placement that cannot be met is an error of load, not of the first run. Where sizes are free
  // they count as 1, which a model need not allow.
  progress(0.7, "planning");
  const bool fixed = fixed_inputs(impl->inputs);
  const bool only_host = shared->devices.size() == 1 && shared->devices[0] == shared->host;
  if (fixed || !only_host) {
    const Result<PlanPtr> plan = impl->plan_for({});
    if (!plan && (fixed || plan.status().code() != Code::InvalidArgument)) return plan.status();
  }
  if (options.stop.stop_requested()) return Status(Code::Cancelled, "loading was cancelled");
  progress(1.0, "ready");
  return Session(std::move(impl));
}

Result<ModelSummary> Runtime::inspect(const Model& model) const {
  Result<LoadedModel> loaded = read_model(model);
  if (!loaded) return loaded.status();
  ModelSummary summary = std::move(loaded->summary);
  for (NodeId id = 0; id < loaded->graph.node_count(); ++id) {
    const Operator* op = find_operator(loaded->graph.node(id).op);
    if (op == nullptr || op->lower == nullptr) {
      summary.unsupported.push_back(describe(loaded->graph, id, "not implemented"));
    }
  }
  return summary;
}

std::vector<PassInfo> passes() {
  std::vector<PassInfo> infos;
  for (const Pass& pass : all_passes()) infos.push_back({pass.name, pass.summary});
  infos.push_back({"layout", "axes lie in memory as most nodes want them; transpositions go"});
  infos.push_back({"fuse-epilogue", "a pointwise operator runs inside the kernel before it"});
  infos.push_back({"in-place", "an output takes over the memory of an input that is not needed"});
  infos.push_back({"graph-capture", "a steady run is recorded once and replayed as one piece"});
  return infos;
}

}  // namespace miniinfer
