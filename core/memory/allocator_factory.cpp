#include "core/memory/allocator_factory.hpp"

#include <utility>

#include "core/base/format.hpp"
#include "core/memory/allocator_upstream.hpp"
#include "core/memory/announced_pool.hpp"
#include "core/memory/cpu_allocator.hpp"
#include "miniinfer/tracking_allocator.hpp"

namespace miniinfer {
namespace {

// "fake" is "fake:0".
std::string device_key(std::string_view device) {
  std::string key(device);
  if (!key.empty() && key.find(':') == std::string::npos) key += ":0";
  return key;
}

// How messages name it.
std::string label(const std::string& device, MemoryKind kind) {
  return kind == MemoryKind::Device ? device : device + "/" + std::string(to_string(kind));
}

}  // namespace

AllocatorTable::AllocatorTable() {
  const auto host = std::make_shared<CPUAllocator>("cpu:0");
  Entry& entry = devices_["cpu:0"];
  for (const MemoryKind kind : {MemoryKind::Device, MemoryKind::Host}) {
    Slot& slot = entry.slots[kind];
    slot = {host, Origin::Permanent};
    adapt(kind, slot);
  }
}

AllocatorTable& AllocatorTable::instance() {
  static AllocatorTable* const table = new AllocatorTable;
  return *table;
}

void AllocatorTable::add_pending(std::string_view device, Opener opener) {
  const std::lock_guard lock(mutex_);
  devices_[device_key(device)].opener = std::move(opener);
}

Status AllocatorTable::add_opened(std::string_view device, std::vector<Memory> memory) {
  const std::string key = device_key(device);
  for (std::size_t i = 0; i < memory.size(); ++i) {
    const MemoryKind kind = memory[i].kind;
    const std::string what = key + ": the allocator of " + std::string(to_string(kind)) + " memory";
    if (!memory[i].allocator) return {Code::InvalidArgument, what + " is null"};
    for (std::size_t j = 0; j < i; ++j) {
      if (memory[j].kind == kind) return {Code::InvalidArgument, what + " is given twice"};
    }
  }
  const std::lock_guard lock(mutex_);
  Entry& entry = devices_[key];
  if (entry.opened) {
    return {Code::FailedPrecondition, key + ": its allocators are registered already"};
  }
  for (Memory& one : memory) {
    Slot& slot = entry.slots.try_emplace(one.kind, Slot{std::move(one.allocator)}).first->second;
    if (one.upstream && slot.origin != Origin::Permanent) {
      MemoryUpstream* const upstream = one.upstream.get();
      slot.device = {std::make_shared<std::shared_ptr<MemoryUpstream>>(std::move(one.upstream)),
                     upstream};
    }
  }
  for (auto& [kind, slot] : entry.slots) {
    if (slot.origin == Origin::Opened && slot.device) slot.upstream = slot.device;
    if (!slot.upstream) adapt(kind, slot);
  }
  entry.opened = true;
  return {};
}

void AllocatorTable::adapt(MemoryKind kind, Slot& slot) {
  slot.upstream = std::make_shared<AllocatorUpstream>(slot.allocator, kind, slot.device);
}

// A copy of a pointer can only be made under the lock, or by somebody who holds one.
bool AllocatorTable::in_use(const Entry& entry, const Slot& slot) {
  const long pool = slot.pool ? 1 : 0;
  if (slot.pool.use_count() > pool) return true;
  if (slot.upstream && slot.upstream.use_count() > (slot.adapted() ? 1 : 2) + pool) return true;
  if (slot.origin == Origin::Replaced) return false;  // the allocator is the user's own
  // One allocator may serve several kinds.
  long ours = 0;
  for (const auto& [kind, other] : entry.slots) {
    if (other.allocator == slot.allocator) ours += other.adapted() ? 2 : 1;
  }
  return slot.allocator.use_count() > ours;
}

Status AllocatorTable::remove_opened(std::string_view device) {
  std::vector<Slot> ended;  // without the lock: pools call the driver
  const std::lock_guard lock(mutex_);
  const auto found = devices_.find(device_key(device));
  if (found == devices_.end()) return unknown(device);
  Entry& entry = found->second;
  for (const auto& [kind, slot] : entry.slots) {
    if (slot.origin == Origin::Permanent || !in_use(entry, slot)) continue;
    return {Code::FailedPrecondition,
            format("%s: its %s memory is still in use", found->first.c_str(),
                   std::string(to_string(kind)).c_str()),
            "let go of its tensors, storages and allocators first"};
  }
  for (auto& [kind, slot] : entry.slots) {
    if (slot.origin == Origin::Permanent) continue;
    const AllocatorPtr allocator = slot.allocator;
    const Origin origin = slot.origin;
    const bool handed_out = slot.handed_out;
    ended.push_back(std::exchange(slot, {}));
    if (origin == Origin::Replaced) slot = {allocator, origin, handed_out};
  }
  std::erase_if(entry.slots, [](const auto& slot) { return slot.second.origin == Origin::Opened; });
  entry.opened = false;
  return {};
}

template <class Use>
auto AllocatorTable::with_slot(const std::string& key, MemoryKind kind, bool for_pool, Use use)
    -> decltype(use(std::declval<Entry&>(), std::declval<Slot&>())) {
  for (bool tried = false;; tried = true) {
    Opener opener;
    {
      const std::lock_guard lock(mutex_);
      const auto found = devices_.find(key);
      if (found == devices_.end()) return unknown(key);
      Entry& entry = found->second;
      const auto slot = entry.slots.find(kind);
      const bool there = slot != entry.slots.end();
      if (there && (slot->second.upstream || !for_pool)) return use(entry, slot->second);
      if (there && (tried || !entry.opener)) {
        adapt(kind, slot->second);
        return use(entry, slot->second);
      }
      if (tried || entry.opened || !entry.opener) return no_such_kind(key, kind, entry);
      opener = entry.opener;
    }
    if (Status status = opener(); !status.ok()) return status;
  }
}

Result<AllocatorPtr> AllocatorTable::get(std::string_view name, MemoryKind kind) {
  Result<AllocatorSpec> spec = parse_allocator_spec(name);
  if (!spec) return spec.status();
  const bool raw = spec->layers.empty();
  return with_slot(spec->device, kind, !raw, [&](Entry& entry, Slot& slot) -> Result<AllocatorPtr> {
    slot.handed_out = true;
    if (raw) return slot.allocator;
    if (const auto made = slot.presets.find(spec->text); made != slot.presets.end()) {
      if (AllocatorPtr same = made->second.lock()) return same;
    }
    Result<AllocatorPtr> built = build(*spec, kind, entry, slot);
    if (!built) return built;
    std::erase_if(slot.presets, [](const auto& preset) { return preset.second.expired(); });
    slot.presets[spec->text] = *built;
    return built;
  });
}

Result<AllocatorPtr> AllocatorTable::build(const AllocatorSpec& spec, MemoryKind kind, Entry& entry,
                                           Slot& slot) {
  if (Status status = read_settings(); !status.ok()) return status;
  AllocatorPtr made = slot.allocator;
  bool raw = true, pooled = false;
  for (const AllocatorSpec::Layer& layer : spec.layers) {
    switch (layer.kind) {
      case AllocatorSpec::Kind::Limit:
        made = limit_allocator(made, layer.bytes, label(spec.device, kind));
        break;
      case AllocatorSpec::Kind::Tracking:
        made =
            tracking_allocator(made, {.history = layer.history, .name = label(spec.device, kind)});
        break;
      case AllocatorSpec::Kind::Caching:
        if (raw && !layer.has_options) {
          Result<PoolPtr> shared = shared_pool(spec.device, kind, entry, slot);
          if (!shared) return shared.status();
          made = *shared;
          pooled = true;
          break;
        }
        [[fallthrough]];
      case AllocatorSpec::Kind::Pool:
        made = make_announced_pool(
            raw ? slot.upstream : std::make_shared<AllocatorUpstream>(made, kind, slot.device),
            label(spec.device, kind), layer.pool,
            pooled ? nullptr : budget_of(spec.device, kind, entry));
        pooled = true;
    }
    raw = false;
  }
  return made;
}

Result<AllocatorTable::PoolPtr> AllocatorTable::pool(std::string_view device, MemoryKind kind) {
  const std::string key = device_key(device);
  return with_slot(key, kind, true,
                   [&](Entry& entry, Slot& slot) { return shared_pool(key, kind, entry, slot); });
}

Result<AllocatorTable::PoolPtr> AllocatorTable::shared_pool(const std::string& key, MemoryKind kind,
                                                            Entry& entry, Slot& slot) {
  slot.handed_out = true;
  if (slot.pool) return slot.pool;
  if (Status status = read_settings(); !status.ok()) return status;
  slot.pool = make_announced_pool(slot.upstream, label(key, kind), settings_->pool,
                                  budget_of(key, kind, entry));
  return slot.pool;
}

Status AllocatorTable::read_settings() {
  if (settings_) return {};
  Result<MemorySettings> settings = read_memory_settings();
  if (!settings) return settings.status();
  settings_ = *settings;
  process_budget_ =
      std::make_shared<Budget>("this process (MINIINFER_MEMORY_LIMIT)", settings_->process_limit);
  return {};
}

std::shared_ptr<Budget> AllocatorTable::budget_of(const std::string& key, MemoryKind kind,
                                                  Entry& entry) {
  if (kind == MemoryKind::Pinned) return process_budget_;  // none of the device's own
  if (!entry.budget) {
    entry.budget = std::make_shared<Budget>(key + " as a whole (MINIINFER_MEMORY_LIMIT)",
                                            settings_->limit_of(key), process_budget_);
  }
  return entry.budget;
}

void AllocatorTable::trim_host() {
  std::vector<PoolPtr> pools;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [device, entry] : devices_) {
      for (const auto& [kind, slot] : entry.slots) {
        if (slot.origin == Origin::Permanent && slot.pool) pools.push_back(slot.pool);
      }
    }
  }
  for (const PoolPtr& pool : pools) pool->trim(0);
}

Status AllocatorTable::replace(std::string_view device, MemoryKind kind, AllocatorPtr allocator) {
  const std::string key = device_key(device);
  if (!allocator) {
    return {Code::InvalidArgument,
            "AllocatorFactory::replace of " + key + ": the allocator is null"};
  }
  const std::lock_guard lock(mutex_);
  const auto found = devices_.find(key);
  if (found == devices_.end()) return unknown(device);
  Entry& entry = found->second;
  const auto slot = entry.slots.find(kind);
  if (slot == entry.slots.end() && (entry.opened || !entry.opener)) {
    return no_such_kind(key, kind, entry);
  }
  if (slot != entry.slots.end() && slot->second.handed_out) {
    return {
        Code::FailedPrecondition,
        format("AllocatorFactory::replace of %s/%s: the present allocator was handed out already",
               key.c_str(), std::string(to_string(kind)).c_str()),
        "replace it before anything uses the device"};
  }
  Slot made{std::move(allocator), Origin::Replaced};
  if (slot != entry.slots.end()) {
    made.device = slot->second.device;
    if (slot->second.upstream) adapt(kind, made);
  }
  entry.slots[kind] = std::move(made);
  return {};
}

std::vector<std::string> AllocatorTable::registered() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [device, entry] : devices_) {
    for (const auto& [kind, slot] : entry.slots) {
      out.push_back(device + "/" + std::string(to_string(kind)));
    }
    if (entry.slots.empty()) out.push_back(device + "/pending");
  }
  return out;
}

Status AllocatorTable::unknown(std::string_view device) const {
  std::string known;
  for (const auto& [name, entry] : devices_) known += (known.empty() ? "" : ", ") + name;
  return {Code::NotFound, "no device '" + printable(device) + "'; there are " + known,
          "devices of plugins appear once a miniinfer::Runtime exists"};
}

Status AllocatorTable::no_such_kind(std::string_view device, MemoryKind kind, const Entry& entry) {
  std::string kinds;
  for (const auto& [other, slot] : entry.slots) {
    kinds += (kinds.empty() ? "" : ", ") + std::string(to_string(other));
  }
  return {Code::NotFound, std::string(device) + " has no " + std::string(to_string(kind)) +
                              " memory; it has " + (kinds.empty() ? "none" : kinds)};
}

Result<AllocatorPtr> AllocatorFactory::get(std::string_view name, MemoryKind kind) {
  return AllocatorTable::instance().get(name, kind);
}

Status AllocatorFactory::replace(std::string_view device, MemoryKind kind, AllocatorPtr allocator) {
  return AllocatorTable::instance().replace(device, kind, std::move(allocator));
}

std::vector<std::string> AllocatorFactory::registered() {
  return AllocatorTable::instance().registered();
}

}  // namespace miniinfer
