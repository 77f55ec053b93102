#include "core/device/backend_registry.hpp"

#include <algorithm>
#include <cinttypes>
#include <mutex>
#include <set>
#include <utility>

#include "core/base/format.hpp"
#include "core/base/log.hpp"
#include "core/device/backend.hpp"
#include "core/device/device_id.hpp"
#include "core/device/host_services.hpp"
#include "core/device/plugin_loader.hpp"
#include "core/device/plugin_search.hpp"
#include "core/device/plugin_tables.hpp"

namespace miniinfer {
namespace {

std::string abi_text(std::uint32_t minor) {
  return format("v%d.%" PRIu32, MINIINFER_ABI_MAJOR, minor);
}

// Calls the entry function of a backend that is part of the core.
Result<const miniinfer_plugin_api*> enter(std::string_view name, miniinfer_plugin_entry entry) {
  char error[256] = "";
  miniinfer_entry args{};
  args.head = MINIINFER_HEAD(miniinfer_entry);
  args.host_min = MINIINFER_ABI_MINOR;
  args.host_max = MINIINFER_ABI_MINOR;
  args.error_capacity = sizeof error;
  args.error = error;
  const miniinfer_code code = entry(&args);
  error[sizeof error - 1] = '\0';
  if (code != MINIINFER_OK) {
    return Status(code_of(code), "the built-in backend " + std::string(name) +
                                     " refused: " + printable(error, sizeof error));
  }
  if (Status status = check_plugin_api(args.plugin); !status.ok()) return status;
  return args.plugin;
}

}  // namespace

struct BackendRegistry::Impl {
  std::mutex loader;         // [loader]: held around every call that has that tag
  mutable std::mutex lists;  // for what follows; never held while a plugin runs
  std::vector<std::unique_ptr<Backend>> backends;
  std::vector<std::unique_ptr<Backend>> refused;  // after probe: they were given a host table
  std::vector<PluginReport> reports;
  std::vector<std::string> searched;
  std::set<std::vector<std::filesystem::path>> scanned;
  std::weak_ptr<const void> kept_open;

  void close_unused() {
    const std::lock_guard guard(loader);
    std::vector<Backend*> plugins;
    {
      const std::lock_guard lock(lists);
      // Somebody may have begun anew while the last one was going.
      if (!kept_open.expired()) return;
      for (const auto& backend : backends) {
        if (!backend->builtin()) plugins.push_back(backend.get());
      }
    }
    for (Backend* plugin : plugins) plugin->close_unused(AllocatorTable::instance());
    AllocatorTable::instance().trim_host();
  }

  Backend* find_backend(std::string_view name) const {
    const std::lock_guard lock(lists);
    for (const auto& backend : backends) {
      if (backend->name() == name) return backend.get();
    }
    return nullptr;
  }

  // A report replaces an earlier one of the same file, unless that one's table is in use.
  void add_report(PluginReport report) {
    const std::lock_guard lock(lists);
    const auto same = std::find_if(reports.begin(), reports.end(), [&](const auto& other) {
      return other.path == report.path && (!other.path.empty() || other.name == report.name);
    });
    if (same == reports.end()) {
      reports.push_back(std::move(report));
    } else if (same->state != PluginState::Loaded) {
      *same = std::move(report);
    }
  }

  // The report of a file whose table is in use, if it is.
  bool is_loaded(const std::filesystem::path& file) const {
    const std::lock_guard lock(lists);
    return std::any_of(reports.begin(), reports.end(), [&](const PluginReport& report) {
      return report.path == file && report.state == PluginState::Loaded;
    });
  }

  // Probes and makes known, or fails as Backend::probe. [loader]
  Status add(const miniinfer_plugin_api& api, PluginReport report) {
    const bool builtin = report.state == PluginState::BuiltIn;
    auto backend = std::make_unique<Backend>(api, builtin);
    if (Status status = backend->probe(&report.notes); !status.ok()) {
      refused.push_back(std::move(backend));
      return status;
    }
    for (const auto& record : backend->devices()) {
      if (record->id == host_record().id) set_host_record(*record);
      if (record->state() == DeviceState::Absent) continue;
      AllocatorTable::instance().add_pending(record->id, [record] {
        return BackendRegistry::instance().open(Device(record)).status();
      });
    }
    add_report(std::move(report));
    const std::lock_guard lock(lists);
    backends.push_back(std::move(backend));
    return {};
  }

  // Loads what may be loaded, and keeps what became of it. [loader]
  PluginReport load(const Candidate& candidate, const LoaderOptions& options) {
    PluginReport report = candidate.report;
    const miniinfer_plugin_api* api = nullptr;
    if (candidate.load && !find_backend(report.name)) {
      const LoadedPlugin loaded = load_plugin(candidate, options);
      report = loaded.report;
      api = loaded.api;
    }
    Status status = api ? check_plugin_api(api) : Status();
    if (candidate.load && find_backend(report.name)) {
      report.state = PluginState::Shadowed;
      status = {Code::FailedPrecondition, "a backend named " + report.name + " is in use already"};
    } else if (api) {
      if (status.ok()) status = add(*api, report);
      if (status.ok()) return report;
      report.state = PluginState::Refused;
    }
    if (!status.ok()) {
      report.code = status.code();
      report.reason = status.message();
      report.hint = status.hint();
    }
    if (report.state == PluginState::Refused) {
      log(MINIINFER_LOG_WARN, "plugin", report.path.string() + " was refused: " + report.reason);
    }
    add_report(report);
    return report;
  }

  std::string device_list() const {
    std::string text;
    const std::lock_guard lock(lists);
    for (const auto& backend : backends) {
      for (const auto& record : backend->devices()) text += (text.empty() ? "" : ", ") + record->id;
    }
    return text.empty() ? "none" : text;
  }

  // Why there is no backend of that name.
  Status no_backend(std::string_view name) const {
    {
      const std::lock_guard lock(lists);
      for (const PluginReport& report : reports) {
        if (report.name != name || report.reason.empty()) continue;
        return {Code::Unavailable,
                "the plugin of " + std::string(name) + " (" + report.path.string() +
                    ") is not in use: " + report.reason,
                report.hint};
      }
    }
    return {Code::NotFound, "no backend '" + std::string(name) + "'; devices are " + device_list(),
            "miniinfer plugin list shows where plugins are looked for"};
  }
};

BackendRegistry::BackendRegistry() : impl_(new Impl) {}

BackendRegistry& BackendRegistry::instance() {
  static BackendRegistry* const registry = new BackendRegistry;
  return *registry;
}

Status BackendRegistry::add_builtin(std::string_view name, miniinfer_plugin_entry entry) {
  const std::lock_guard loader(impl_->loader);
  if (impl_->find_backend(name)) return {};
  Result<const miniinfer_plugin_api*> api = enter(name, entry);
  if (!api) return api.status();
  if (name != (*api)->name) {
    return {Code::Internal,
            "the built-in backend " + std::string(name) + " calls itself " + (*api)->name};
  }
  PluginReport report;
  report.name = name;
  report.found_via = "built in";
  report.state = PluginState::BuiltIn;
  report.version = (*api)->version ? printable((*api)->version) : "";
  report.abi = abi_text(MINIINFER_ABI_MINOR);
  return impl_->add(**api, std::move(report));
}

void BackendRegistry::scan(const std::vector<std::filesystem::path>& explicit_places) {
  const std::lock_guard loader(impl_->loader);
  {
    const std::lock_guard lock(impl_->lists);
    if (!impl_->scanned.insert(explicit_places).second) return;
  }
  const PluginSearch search = PluginSearch::of_process(explicit_places);
  const LoaderOptions options = LoaderOptions::of_process(search, host_cache_folder());
  const FoundPlugins found = find_plugins(search);
  {
    const std::lock_guard lock(impl_->lists);
    for (const std::string& place : found.searched) {
      if (std::find(impl_->searched.begin(), impl_->searched.end(), place) ==
          impl_->searched.end()) {
        impl_->searched.push_back(place);
      }
    }
  }
  for (const Candidate& candidate : found.candidates) {
    if (!impl_->is_loaded(candidate.report.path)) impl_->load(candidate, options);
  }
}

Status BackendRegistry::add_file(const std::filesystem::path& file, std::string_view found_via) {
  const std::lock_guard loader(impl_->loader);
  const PluginSearch search = PluginSearch::of_process({});
  const Candidate candidate = plugin_candidate(search, file, found_via);
  if (impl_->is_loaded(candidate.report.path)) return {};
  const PluginReport report =
      impl_->load(candidate, LoaderOptions::of_process(search, host_cache_folder()));
  if (report.state == PluginState::Loaded) return {};
  return {report.code == Code::Ok ? Code::Unavailable : report.code,
          "plugin " + file.string() + ": " + report.reason, report.hint};
}

PluginReport BackendRegistry::check_file(const std::filesystem::path& file) {
  const std::lock_guard loader(impl_->loader);
  const PluginSearch search = PluginSearch::of_process({});
  const Candidate candidate = plugin_candidate(search, file, "check");
  if (!candidate.load) return candidate.report;
  return load_plugin(candidate, LoaderOptions::of_process(search, host_cache_folder())).report;
}

std::vector<PluginReport> BackendRegistry::reports() const {
  const std::lock_guard lock(impl_->lists);
  return impl_->reports;
}

std::vector<std::string> BackendRegistry::searched() const {
  const std::lock_guard lock(impl_->lists);
  return impl_->searched;
}

std::vector<Device> BackendRegistry::devices() const {
  std::vector<Device> out, without;
  {
    const std::lock_guard lock(impl_->lists);
    for (const auto& backend : impl_->backends) {
      for (const auto& record : backend->devices()) out.emplace_back(record);
      if (backend->nothing()) without.emplace_back(backend->nothing());
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const Device& a, const Device& b) {
    const auto key = [](const Device& device) {
      return std::pair(device.state() != DeviceState::Absent, device.rank());
    };
    return key(a) > key(b);
  });
  out.insert(out.end(), without.begin(), without.end());
  return out;
}

Result<Device> BackendRegistry::find(std::string_view text) const {
  const Result<DeviceId> id = parse_device_id(text);
  if (!id) return id.status();
  const Backend* const backend = impl_->find_backend(id->backend);
  if (!backend) {
    // The host's memory is there with or without a backend.
    if (id->backend == host_record().backend_name && id->ordinal == 0) return Device();
    return impl_->no_backend(id->backend);
  }
  if (backend->nothing()) {
    return Status(Code::Unavailable, std::string(text) + " is not available: " +
                                         std::string(backend->nothing()->reason()));
  }
  for (const auto& record : backend->devices()) {
    const bool wanted = id->ordinal ? record->ordinal == *id->ordinal
                                    : std::string_view(record->info.stable_id) == id->stable_id;
    if (!wanted) continue;
    if (record->state() == DeviceState::Absent) {
      return Status(Code::Unavailable,
                    record->id + " is not available: " + std::string(record->reason()));
    }
    return Device(record);
  }
  return Status(Code::NotFound,
                "no device '" + std::string(text) + "'; devices are " + impl_->device_list());
}

Result<OpenDevicePtr> BackendRegistry::open(const Device& device) {
  DeviceRecord& record = record_of(device);
  if (Status status = record.ready(); !status.ok()) return status;
  if (OpenDevicePtr open = record.opened()) return open;
  if (!record.backend) {
    return Status(Code::Unavailable,
                  record.ordinal < 0
                      ? record.id + " is not available: " + std::string(record.reason())
                      : "no backend that computes on " + record.id + " is registered");
  }
  const std::lock_guard loader(impl_->loader);
  return record.backend->open(record, AllocatorTable::instance());
}

Status BackendRegistry::close(const Device& device) {
  DeviceRecord& record = record_of(device);
  if (!record.backend) return {};
  const std::lock_guard loader(impl_->loader);
  return record.backend->close(record, AllocatorTable::instance());
}

std::shared_ptr<const void> BackendRegistry::keep_open() {
  const std::lock_guard lock(impl_->lists);
  std::shared_ptr<const void> held = impl_->kept_open.lock();
  if (!held) {
    held =
        std::shared_ptr<const void>(impl_, [impl = impl_](const void*) { impl->close_unused(); });
    impl_->kept_open = held;
  }
  return held;
}

}  // namespace miniinfer
