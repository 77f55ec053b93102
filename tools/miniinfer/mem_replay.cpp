#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>

#include "command.hpp"
#include "replay.hpp"
#include "text_file.hpp"

namespace miniinfer::command {
namespace {

struct Options {
  CommonOptions common;
  std::vector<std::string> traces;
  std::string allocators = "raw,pool,caching";
};

// The factory's name for an allocator that nobody else has: "DEVICE/caching" alone is what sessions
// and tensors use, with options it is one of its own.
std::string factory_name(std::string_view device, std::string_view allocator) {
  constexpr std::string_view kCaching = "caching", kRaw = "raw";
  std::string name(device);
  if (allocator == kRaw) return name;
  name += "/";
  name += allocator;
  if (allocator == kCaching || allocator.starts_with("caching/")) {
    const char* const given = std::getenv("MINIINFER_MEMORY");
    const std::string options =
        given != nullptr && *given != '\0' ? given : "slack=" + std::to_string(PoolOptions().slack);
    name.insert(device.size() + 1 + kCaching.size(), "?" + options);
  }
  return name;
}

// The device for tests is small and maps no memory unless it is told to. Traces are of GPUs, so
// here it is like one.
CommonOptions with_defaults(CommonOptions common) {
  constexpr struct {
    const char* option;
    const char* variable;
    const char* value;
  } kLikeGPU[] = {{"fake.memory", "MINIINFER_FAKE_MEMORY", "68719476736"},
                  {"fake.granularity", "MINIINFER_FAKE_GRANULARITY", "2097152"}};
  if (!common.devices.starts_with("fake")) return common;
  for (const auto& one : kLikeGPU) {
    const std::string option = std::string(one.option) + "=";
    const bool is_given = std::any_of(common.options.begin(), common.options.end(),
                                      [&](const auto& given) { return given.starts_with(option); });
    if (!is_given && std::getenv(one.variable) == nullptr) {
      common.options.push_back(option + one.value);
    }
  }
  return common;
}

// Device, contexts and what is said of each replay.
class Rows {
 public:
  Rows(Device device, Output& output) : device_(std::move(device)), output_(output) {}

  Outcome add(const std::string& path, const AllocationTrace& trace, std::string_view name) {
    while (contexts_.size() < trace.streams) {
      Result<DeviceContext> context = DeviceContext::create(device_);
      if (!context) return Outcome::fail(context.status(), Stage::Run, std::string(device_.id()));
      contexts_.push_back(std::move(*context));
    }
    const std::string where = path + ", " + std::string(name);
    Result<Replayed> result = replay_on(trace, name);
    if (!result) return Outcome::fail(result.status(), Stage::Run, where);
    const double live = static_cast<double>(result->live_peak);
    const std::optional<double> ratio =
        live > 0 ? std::optional(static_cast<double>(result->reserved_peak) / live) : std::nullopt;
    output_.document["results"].push_back(
        {{"trace", path},
         {"allocator", name},
         {"events", trace.events.size()},
         {"ns_per_op", result->ns_per_op},
         {"reserved_peak", result->reserved_peak},
         {"live_peak", result->live_peak},
         {"ratio", json_number(ratio)},
         {"driver_calls", result->driver_calls},
         {"failures", result->failures},
         {"first_failure", json_text(result->first_failure.message())}});
    char ns[32], times[32];
    std::snprintf(ns, sizeof ns, "%.1f", result->ns_per_op);
    std::snprintf(times, sizeof times, "%.4f", ratio.value_or(0));
    rows_.push_back({std::filesystem::path(path).filename().string(), std::string(name),
                     std::to_string(trace.events.size()), ns, std::to_string(result->reserved_peak),
                     std::to_string(result->live_peak), ratio ? times : "-",
                     std::to_string(result->driver_calls), std::to_string(result->failures)});
    if (result->failures > 0 && failed_.status.ok()) {
      failed_ = Outcome::fail(result->first_failure, Stage::Run, where);
    }
    return Outcome::ok();
  }

  // What there is goes out whatever became of the rest.
  void print() const {
    if (rows_.size() > 1) output_.table(rows_);
  }
  // Of a replay that lacked memory.
  const Outcome& failed() const { return failed_; }

 private:
  Result<Replayed> replay_on(const AllocationTrace& trace, std::string_view name) {
    Result<AllocatorPtr> allocator = AllocatorFactory::get(factory_name(device_.id(), name));
    if (!allocator) return allocator.status();
    return replay(trace, std::span(contexts_).first(trace.streams), **allocator, interrupted());
  }

  Device device_;
  Output& output_;
  std::vector<DeviceContext> contexts_;
  std::vector<std::vector<std::string>> rows_ = {{"TRACE", "ALLOCATOR", "EVENTS", "NS/OP",
                                                  "RESERVED", "LIVE", "RATIO", "DRIVER CALLS",
                                                  "FAILURES"}};
  Outcome failed_;
};

Outcome run(const Options& options, Output& output) {
  output.declare({"device", "results"});
  Stage stage = Stage::Usage;
  Result<Runtime> runtime = make_runtime(with_defaults(options.common), output, stage);
  if (!runtime) return Outcome::fail(runtime.status(), stage);
  Result<Device> device = runtime->device(options.common.devices);
  if (!device) {
    Outcome outcome = Outcome::fail(device.status(), Stage::Usage, options.common.devices);
    if (device.status().code() == Code::NotFound) outcome.exit = kDevice;
    return outcome;
  }
  if (Status status = device->open(); !status.ok()) return Outcome::fail(status, Stage::Run);
  output.document["device"] = device->id();
  const std::vector<std::string_view> allocators = split(options.allocators, ',');
  for (const std::string_view name : allocators) {
    // Before anything is read or timed.
    if (const auto known = AllocatorFactory::get(factory_name(device->id(), name)); !known) {
      return Outcome::fail(known.status(), Stage::Usage, "--allocator");
    }
  }
  output.document["results"] = Json::array();
  Rows rows(*device, output);
  Outcome outcome;
  for (const std::string& path : options.traces) {
    std::string where;
    const Result<AllocationTrace> trace = read_allocation_trace(path, where);
    if (!trace) {
      const Code code = trace.status().code();
      const bool is_file = code == Code::NotFound || code == Code::FailedPrecondition;
      outcome = Outcome::fail(trace.status(), is_file ? Stage::File : Stage::Usage, where);
      break;
    }
    for (const std::string_view name : allocators) {
      outcome = rows.add(path, *trace, name);
      if (!outcome.status.ok()) break;
    }
    if (!outcome.status.ok()) break;
  }
  rows.print();
  return outcome.status.ok() ? rows.failed() : outcome;
}

}  // namespace

std::function<Outcome()> add_mem_replay(CLI::App& app, Output& output) {
  auto options = std::make_shared<Options>();
  app.add_option("TRACE", options->traces,
                 "allocations in order: lines a ID BYTES STREAM and f ID, or RMM's CSV; also .gz")
      ->required()
      ->type_name("");
  app.add_option("-d", options->common.devices, "whose memory")->required()->type_name("DEV");
  app.add_option("--allocator", options->allocators,
                 "raw, pool, caching, or what AllocatorFactory takes, such as pool?slack=1.1")
      ->type_name("NAME,..")
      ->capture_default_str();
  add_common_options(app, options->common, output);
  return [options, &output] { return run(*options, output); };
}

}  // namespace miniinfer::command
