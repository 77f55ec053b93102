#include "core/device/backend.hpp"

#include <algorithm>
#include <cinttypes>

#include "core/base/format.hpp"
#include "core/device/fork_generation.hpp"
#include "core/device/open_device.hpp"
#include "core/device/plugin_tables.hpp"
#include "core/device/whole_table.hpp"
#include "core/memory/cpu_allocator.hpp"

namespace miniinfer {
namespace {

constexpr std::uint32_t kMaxDevices = 64;
constexpr std::string_view kHostDomain = "host";

bool uses_host_memory(const miniinfer_device_info& info) {
  return info.memory_domain == kHostDomain;
}

}  // namespace

Backend::Backend(const miniinfer_plugin_api& api, bool builtin)
    : name_(api.name), builtin_(builtin), api_(whole_table(&api)), host_(name_) {}

Status Backend::probe(std::vector<std::string>* notes) {
  std::vector<miniinfer_device_info> infos(kMaxDevices);
  std::vector<miniinfer_device_info*> pointers;
  for (miniinfer_device_info& info : infos) {
    info.head = MINIINFER_HEAD(miniinfer_device_info);
    pointers.push_back(&info);
  }
  miniinfer_probe probe{};
  probe.head = MINIINFER_HEAD(miniinfer_probe);
  probe.capacity = kMaxDevices;
  probe.devices = pointers.data();

  static_cast<void>(take_error_text());
  const miniinfer_code code = api_.probe(host_.table(), &probe);
  const std::string error = printable(take_error_text(), 512);
  terminate(probe.reason);
  terminate(probe.driver);
  std::string reason = printable(probe.reason, sizeof probe.reason);
  if (code != MINIINFER_OK) {
    reason = "probing failed with " + std::string(to_string(code_of(code))) +
             (error.empty() ? "" : ": " + error);
    probe.state = MINIINFER_PROBE_ABSENT;
  }
  if (probe.count > kMaxDevices) {
    return {Code::Incompatible,
            format("it lists %" PRIu32 " devices, where there was room for %" PRIu32, probe.count,
                   kMaxDevices),
            "use another version of the plugin"};
  }
  if (probe.state == MINIINFER_PROBE_ABSENT) probe.count = 0;
  const DeviceState found =
      probe.state == MINIINFER_PROBE_FOUND ? DeviceState::Found : DeviceState::Unknown;
  for (std::uint32_t i = 0; i < probe.count; ++i) {
    miniinfer_device_info& info = infos[i];
    sanitize(info);
    if (info.driver[0] == '\0') {
      std::copy(std::begin(probe.driver), std::end(probe.driver), std::begin(info.driver));
    }
    DeviceState state = found;
    std::string why = found == DeviceState::Found ? "" : reason;
    for (const auto& other : devices_) {
      if (info.stable_id[0] == '\0' || std::string_view(other->info.stable_id) != info.stable_id) {
        continue;
      }
      state = DeviceState::Absent;
      why = "the same device as " + other->id + " (" + other->stable_id + ")";
      notes->push_back(format("%s:%" PRIu32 " is %s", name_.c_str(), i, why.c_str()));
      break;
    }
    devices_.push_back(
        std::make_shared<DeviceRecord>(this, name_, static_cast<int>(i), info, state, why));
  }
  if (!devices_.empty()) return {};
  if (reason.empty()) reason = "the plugin found no device and did not say why";
  nothing_ = std::make_shared<DeviceRecord>(
      name_, probe.state == MINIINFER_PROBE_UNKNOWN ? DeviceState::Unknown : DeviceState::Absent,
      reason);
  return {};
}

Status Backend::init() {
  if (init_called_ && !builtin_ && init_generation_ != fork_generation()) {
    return {Code::FailedPrecondition, name_ + " was initialised before this process was forked",
            "open devices after fork, or start the child with exec"};
  }
  if (init_called_) return init_status_;
  init_called_ = true;
  init_generation_ = fork_generation();
  static_cast<void>(take_error_text());
  const miniinfer_code code = api_.init(host_.table(), &plugin_);
  const std::string text = printable(take_error_text(), 1024);
  if (code == MINIINFER_OK) return {};
  const std::string message =
      "initialising " + name_ + " failed: " +
      (text.empty() ? std::string(to_string(code_of(code))) + ", without a reason" : text);
  init_status_ = {code_of(code), message};
  for (const auto& record : devices_) record->set_state(DeviceState::Absent, message);
  return init_status_;
}

Result<OpenDevicePtr> Backend::open(DeviceRecord& record, AllocatorTable& table) {
  if (Status status = record.ready(); !status.ok()) return status;
  if (OpenDevicePtr open = record.opened()) return open;
  if (record.state() == DeviceState::Absent) {
    return Status(Code::Unavailable,
                  record.id + " is not available: " + std::string(record.reason()));
  }
  if (Status status = init(); !status.ok()) return status;

  const auto ordinal = static_cast<std::uint32_t>(record.ordinal);
  miniinfer_device* handle = nullptr;
  const miniinfer_device_api* api = nullptr;
  host_.begin_open(ordinal);
  const miniinfer_code code = api_.device_open(plugin_, ordinal, &record.info, &handle, &api);
  const std::vector<miniinfer_allocator> allocators = host_.end_open();
  if (Status status = record.check(code, "device_open"); !status.ok()) {
    if (status.code() == Code::Unavailable) record.set_state(DeviceState::Absent, status.message());
    return status;
  }
  Result<OpenDevicePtr> open = adopt(record, handle, api);
  if (!open) return open;
  if (Status status = register_memory(**open, allocators, table); !status.ok()) {
    (*open)->internals->api.close(handle);
    return status;
  }
  record.update((*open)->info);
  record.set_opened(*open, builtin_);
  record.set_state(DeviceState::Ready, "");
  return open;
}

Result<OpenDevicePtr> Backend::adopt(DeviceRecord& record, miniinfer_device* handle,
                                     const miniinfer_device_api* api) {
  const auto wrong = [&](const std::string& what) {
    return Status(Code::Incompatible, "opening " + record.id + ": the plugin gave " + what,
                  "use another version of the plugin");
  };
  if (!handle || !api) return wrong(handle ? "no device table" : "no device");
  auto open = std::make_shared<OpenDevice>();
  open->internals = std::make_shared<OpenDevice::Internals>();
  OpenDevice::Internals& internals = *open->internals;
  internals.record = &record;
  internals.api = whole_table(api);
  open->handle = handle;
  open->info = record.info;
  open->device = Device(devices_[static_cast<std::size_t>(record.ordinal)]);

  const auto refuse = [&](const std::string& what) {
    if (internals.api.close) internals.api.close(handle);
    return wrong(what);
  };
  if (const char* slot = missing_slot(internals.api)) {
    return refuse(std::string("a table without ") + slot);
  }
  internals.op = whole_table(internals.api.op);
  internals.api.op = &internals.op;
  if (const char* slot = missing_slot(internals.op)) {
    return refuse(std::string("a table without ") + slot);
  }
  if (internals.api.info) {
    miniinfer_device_info info = record.info;
    info.head = MINIINFER_HEAD(miniinfer_device_info);
    if (record.check(internals.api.info(handle, &info), "reading what it is").ok()) {
      sanitize(info);
      open->info = info;
      // Identity stays what probing said.
      open->info.kind = record.info.kind;
      std::copy(std::begin(record.info.stable_id), std::end(record.info.stable_id),
                open->info.stable_id);
    }
  }
  if (open->is_inline()) {
    internals.api.stream = nullptr;
  } else if (!internals.api.stream) {
    return refuse("a queued device without a stream table");
  } else {
    internals.stream = whole_table(internals.api.stream);
    internals.api.stream = &internals.stream;
    if (const char* slot = missing_slot(internals.stream)) {
      return refuse(std::string("a table without ") + slot);
    }
  }
  if (open->is_inline() && !uses_host_memory(open->info) && !open->host_visible()) {
    return refuse("an inline device whose memory the host cannot reach");
  }
  open->api = &internals.api;
  return open;
}

Status Backend::register_memory(OpenDevice& device,
                                const std::vector<miniinfer_allocator>& allocators,
                                AllocatorTable& table) {
  OpenDevice::Internals& internals = *device.internals;
  const std::string& id = internals.record->id;
  std::vector<AllocatorTable::Memory> made;
  for (const miniinfer_allocator& allocator : allocators) {
    const auto kind = static_cast<MemoryKind>(allocator.kind);
    auto upstream = std::make_shared<PluginUpstream>(
        *internals.record, allocator, device.info.flags, device.handle, internals.api.stream,
        kind == MemoryKind::Device ? virtual_memory(device) : nullptr,
        kind == MemoryKind::Device ? memory_annotate(device) : nullptr);
    if (kind == MemoryKind::Device) internals.upstream = upstream;
    made.push_back({kind, std::make_shared<PluginAllocator>(upstream), upstream});
  }
  if (!internals.upstream) {
    if (!uses_host_memory(device.info)) {
      return {Code::Incompatible,
              "opening " + id + ": the plugin registered no allocator of device memory"};
    }
    // It computes in the host's memory.
    const auto host = std::make_shared<CPUAllocator>(id);
    for (const MemoryKind kind : {MemoryKind::Device, MemoryKind::Host}) {
      const auto same = [kind](const auto& entry) { return entry.kind == kind; };
      if (std::none_of(made.begin(), made.end(), same)) made.push_back({kind, host});
    }
  }
  // Streams are told to all pools that may be asked for memory in their name.
  std::vector<MemoryKind> pooled = {MemoryKind::Device};
  for (const AllocatorTable::Memory& memory : made) {
    if (memory.kind != MemoryKind::Device && !device.is_inline()) pooled.push_back(memory.kind);
  }
  if (Status status = table.add_opened(id, std::move(made)); !status.ok()) return status;
  for (const MemoryKind kind : pooled) {
    Result<AllocatorTable::PoolPtr> pool = table.pool(id, kind);
    if (!pool) {
      internals.pools.clear();
      static_cast<void>(table.remove_opened(id));
      return pool.status();
    }
    internals.pools.push_back(std::move(*pool));
  }
  device.allocator = internals.pools.front();
  return {};
}

Status Backend::close(DeviceRecord& record, AllocatorTable& table) {
  const Status busy(Code::FailedPrecondition, record.id + " is still in use",
                    "let go of the sessions, contexts and tensors that use it first");
  OpenDevicePtr open = record.opened();
  if (!open) return {};
  open.reset();
  if (!record.ready().ok() && record.state() != DeviceState::Lost) return record.ready();
  open = record.take_opened_if_unused();
  if (!open) return record.opened() ? busy : Status();
  OpenDevice::Internals& internals = *open->internals;
  const auto put_back = [&](Status status) {
    record.set_opened(open, builtin_);
    return status;
  };
  for (miniinfer_stream* stream : internals.idle_streams) destroy_stream(*open, stream);
  internals.idle_streams.clear();
  {
    // The table's must be the last pointers.
    const std::vector<std::weak_ptr<PoolAllocator>> watch(internals.pools.begin(),
                                                          internals.pools.end());
    open->allocator.reset();
    internals.pools.clear();
    if (Status status = table.remove_opened(record.id); !status.ok()) {
      for (const auto& pool : watch) internals.pools.push_back(pool.lock());
      open->allocator = internals.pools.front();
      return put_back(std::move(status));
    }
  }
  internals.api.close(open->handle);
  record.set_opened(nullptr, true);
  record.set_state(DeviceState::Found, "");
  return {};
}

void Backend::close_unused(AllocatorTable& table) {
  bool all = true;
  for (const auto& record : devices_) all = close(*record, table).ok() && all;
  const bool ours = init_called_ && init_status_.ok() && init_generation_ == fork_generation();
  if (!all || !ours || !api_.shutdown) return;
  api_.shutdown(plugin_);
  plugin_ = nullptr;
  init_called_ = false;
}

}  // namespace miniinfer
