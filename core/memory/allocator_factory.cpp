#include "core/memory/allocator_factory.hpp"

#include <algorithm>

#include "core/base/format.hpp"
#include "core/memory/cpu_allocator.hpp"

namespace miniinfer {
namespace {

// "fake" is "fake:0".
std::string device_key(std::string_view device) {
  std::string key(device);
  if (!key.empty() && key.find(':') == std::string::npos) key += ":0";
  return key;
}

}  // namespace

AllocatorTable::AllocatorTable() {
  const auto host = std::make_shared<CPUAllocator>("cpu:0");
  Entry& entry = devices_["cpu:0"];
  entry.slots[MemoryKind::Device] = {host, Origin::Permanent};
  entry.slots[MemoryKind::Host] = {host, Origin::Permanent};
}

AllocatorTable& AllocatorTable::instance() {
  static AllocatorTable* const table = new AllocatorTable;
  return *table;
}

void AllocatorTable::add_pending(std::string_view device, Opener opener) {
  const std::lock_guard lock(mutex_);
  devices_[device_key(device)].opener = std::move(opener);
}

Status AllocatorTable::add_opened(std::string_view device, Allocators allocators) {
  const std::string key = device_key(device);
  for (std::size_t i = 0; i < allocators.size(); ++i) {
    const auto& [kind, allocator] = allocators[i];
    const std::string what = key + ": the allocator of " + std::string(to_string(kind)) + " memory";
    if (!allocator) return {Code::InvalidArgument, what + " is null"};
    for (std::size_t j = 0; j < i; ++j) {
      if (allocators[j].first == kind) return {Code::InvalidArgument, what + " is given twice"};
    }
  }
  const std::lock_guard lock(mutex_);
  Entry& entry = devices_[key];
  if (entry.opened) {
    return {Code::FailedPrecondition, key + ": its allocators are registered already"};
  }
  for (auto& [kind, allocator] : allocators) {
    entry.slots.try_emplace(kind, Slot{std::move(allocator), Origin::Opened});
  }
  entry.opened = true;
  return {};
}

Status AllocatorTable::remove_opened(std::string_view device) {
  const std::lock_guard lock(mutex_);
  const auto found = devices_.find(device_key(device));
  if (found == devices_.end()) return unknown(device);
  Entry& entry = found->second;
  for (const auto& [kind, slot] : entry.slots) {
    if (slot.origin != Origin::Opened) continue;
    // One pointer may serve several kinds. A copy can only be made here, under the lock, or by
    // somebody who holds one.
    const auto ours = std::count_if(
        entry.slots.begin(), entry.slots.end(),
        [&slot = slot](const auto& other) { return other.second.allocator == slot.allocator; });
    if (slot.allocator.use_count() > ours) {
      return {Code::FailedPrecondition,
              format("%s: its %s memory is still in use", found->first.c_str(),
                     std::string(to_string(kind)).c_str()),
              "let go of its tensors, storages and allocators first"};
    }
  }
  std::erase_if(entry.slots, [](const auto& slot) { return slot.second.origin == Origin::Opened; });
  entry.opened = false;
  return {};
}

Result<AllocatorPtr> AllocatorTable::get(std::string_view device, MemoryKind kind) {
  const std::string key = device_key(device);
  Opener opener;
  Result<AllocatorPtr> found = look_up(key, kind, &opener);
  if (found || !opener) return found;
  if (Status status = opener(); !status.ok()) return status;
  return look_up(key, kind, nullptr);
}

Result<AllocatorPtr> AllocatorTable::look_up(const std::string& key, MemoryKind kind,
                                             Opener* opener) {
  const std::lock_guard lock(mutex_);
  const auto found = devices_.find(key);
  if (found == devices_.end()) return unknown(key);
  Entry& entry = found->second;
  if (const auto slot = entry.slots.find(kind); slot != entry.slots.end()) {
    slot->second.handed_out = true;
    return slot->second.allocator;
  }
  if (opener && !entry.opened) *opener = entry.opener;
  return no_such_kind(key, kind, entry);
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
  entry.slots[kind] = {std::move(allocator), Origin::Replaced};
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

Result<AllocatorPtr> AllocatorFactory::get(std::string_view device, MemoryKind kind) {
  return AllocatorTable::instance().get(device, kind);
}

Status AllocatorFactory::replace(std::string_view device, MemoryKind kind, AllocatorPtr allocator) {
  return AllocatorTable::instance().replace(device, kind, std::move(allocator));
}

std::vector<std::string> AllocatorFactory::registered() {
  return AllocatorTable::instance().registered();
}

}  // namespace miniinfer
