#pragma once

// Where a program begins: finds devices, loads models.

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/plugin.hpp"
#include "miniinfer/session.hpp"

namespace miniinfer {

// "0.1.0", and the commit it was built from where that is known.
MINIINFER_API std::string_view version() noexcept;
MINIINFER_API std::string_view commit() noexcept;
// "v0.1": the plugin boundary this library speaks.
MINIINFER_API std::string_view abi_version() noexcept;

enum class Level : std::int32_t { Trace, Debug, Info, Warn, Error, Off };

// A log for RuntimeOptions: lines such as "[warning] fake: ..." on stderr.
MINIINFER_API std::function<void(Level, std::string_view component, std::string_view text)>
log_to_stderr();

// What can be left out by LoadOptions::disabled_passes.
struct PassInfo {
  std::string_view name;
  std::string_view summary;
};
MINIINFER_API std::vector<PassInfo> passes();

// What may be traded for speed. Strict: float32 means float32.
enum class Precision : std::int32_t { Strict, TF32, BF16, FP16 };

struct MemoryLimit {
  std::string device;  // "cuda:0", or "cpu:0" for the host
  std::uint64_t bytes = 0;
};

// Bytes of external data by the name the model uses for them.
using External = std::function<Result<std::span<const std::byte>>(std::string_view name)>;

// A model to load: a file (mapped, external data beside it), or bytes in memory, which `keep` keeps
// alive; a model in memory has external data only where `external` is given.
struct MINIINFER_API Model {
  static Model file(std::filesystem::path path);
  static Model bytes(std::span<const std::byte> data, std::shared_ptr<void> keep,
                     External external = {});

  std::filesystem::path path;
  std::span<const std::byte> data;
  std::shared_ptr<void> keep;
  External external;
};

struct LoadOptions {
  Precision precision = Precision::Strict;
  std::vector<MemoryLimit> limits;
  int contexts = 2;                          // runs at one time; each has an arena
  std::vector<std::string> disabled_passes;  // names as `miniinfer inspect --passes` shows them
  std::stop_token stop;
  std::function<void(double fraction, std::string_view stage)> progress;
};

struct RuntimeOptions {
  std::vector<std::filesystem::path> plugin_dirs;  // or files; before the usual search
  // Empty: silent. Called on any thread.
  std::function<void(Level, std::string_view component, std::string_view text)> log;
  Level level = Level::Warn;
  int threads = 0;              // 0: the least of affinity, cgroup quota and physical cores
  std::filesystem::path cache;  // empty: writes no file
  std::vector<std::pair<std::string, std::string>> options;  // "fake.plan" = "alloc#3=oom"
};

// A summary of a model that needs no device: what `miniinfer inspect` prints.
struct ModelSummary {
  std::int64_t ir_version = 0;
  std::vector<std::pair<std::string, std::int64_t>> opsets;
  std::string producer;
  std::vector<TensorSpec> inputs, outputs;
  std::vector<std::pair<std::string, int>> operators;  // by name, as in the file
  int node_count = 0;
  std::uint64_t parameter_count = 0;
  std::uint64_t parameter_bytes = 0;
  std::vector<NodeReport> unsupported;  // nodes no backend here could run, all of them
};

// Cannot fail: a broken plugin is data, not an error. Runtimes share plugins, devices and the
// AllocatorFactory of the process, not options. When the last Runtime and Session go, devices of
// plugins that nobody uses are closed. [any-thread]
class MINIINFER_API Runtime {
 public:
  explicit Runtime(RuntimeOptions options = {});

  // Devices in the order they are used when none is named, then backends without any.
  std::vector<Device> devices() const;
  // Every candidate, with its state, reason and hint.
  std::vector<PluginReport> plugins() const;
  // The folders looked into.
  std::vector<std::string> searched() const;

  // "cuda:0", "cuda", "cuda:GPU-<uuid>". INVALID_ARGUMENT for bad syntax, NOT_FOUND or UNAVAILABLE
  // with the list of devices or the reason.
  Result<Device> device(std::string_view id) const;
  Status add_plugin(const std::filesystem::path& file);
  // Everything that is checked before a plugin is used, without using it.
  PluginReport check_plugin(const std::filesystem::path& file) const;
  int threads() const noexcept;

  // `devices` is an ordered list, "cuda:0,cpu": each node runs on the first that can, and one that
  // none can run is an error that lists all such nodes. One device is strict placement. Empty, or
  // "auto": the best-ranked usable device, then cpu for what it lacks.
  Result<Session> load(const std::filesystem::path& file, std::string_view devices,
                       const LoadOptions& options = {}) const;
  Result<Session> load(const Model& model, std::string_view devices,
                       const LoadOptions& options = {}) const;
  Result<ModelSummary> inspect(const Model& model) const;

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace miniinfer
