#pragma once

// The plugin's way in: the note, the entry function and the plugin table, from one macro.
//
//   MINIINFER_PLUGIN(acme, AcmeBackend)   // once, in one .cpp, outside any namespace
//
// Link with include/miniinfer/sdk/plugin.map as version script: it keeps every symbol but the entry
// function inside the library (hidden visibility alone does not hold back std templates).

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <type_traits>

#include "miniinfer/abi/plugin.h"
#include "miniinfer/sdk/backend.hpp"
#include "miniinfer/sdk/open_device.hpp"

namespace miniinfer::sdk {

namespace detail {

constexpr std::uint32_t sanitizer() noexcept {
#if defined(__SANITIZE_ADDRESS__)
  return MINIINFER_SANITIZER_ADDRESS;
#elif defined(__SANITIZE_THREAD__)
  return MINIINFER_SANITIZER_THREAD;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
  return MINIINFER_SANITIZER_ADDRESS;
#elif __has_feature(thread_sanitizer)
  return MINIINFER_SANITIZER_THREAD;
#else
  return MINIINFER_SANITIZER_NONE;
#endif
#else
  return MINIINFER_SANITIZER_NONE;
#endif
}

template <class T>
struct PluginTable {
  static T* backend(miniinfer_plugin* plugin) noexcept { return reinterpret_cast<T*>(plugin); }

  static miniinfer_code probe(const miniinfer_host* host, miniinfer_probe* out) noexcept {
    host_slot() = host;
    return guard([&] {
      const Probe found = T::probe();
      miniinfer_probe ours = read<miniinfer_probe>(out);
      ours.count = 0;
      for (const DeviceInfo& device : found.devices) {
        if (ours.count == ours.capacity) break;
        write(device.to_abi(), ours.devices[ours.count++]);
      }
      ours.state = found.unknown     ? MINIINFER_PROBE_UNKNOWN
                   : ours.count != 0 ? MINIINFER_PROBE_FOUND
                                     : MINIINFER_PROBE_ABSENT;
      put_text(ours.reason, found.reason);
      put_text(ours.driver, found.driver);
      write(ours, out);
    });
  }

  static miniinfer_code init(const miniinfer_host* host, miniinfer_plugin** out) noexcept {
    host_slot() = host;
    return guard(
        [&] { *out = reinterpret_cast<miniinfer_plugin*>(std::make_unique<T>().release()); });
  }

  static void shutdown(miniinfer_plugin* plugin) noexcept { delete backend(plugin); }

  static miniinfer_code open(miniinfer_plugin* plugin, std::uint32_t ordinal,
                             const miniinfer_device_info* info, miniinfer_device** out,
                             const miniinfer_device_api** out_api) noexcept {
    return guard([&] {
      auto opened = std::make_unique<OpenDevice>(
          backend(plugin)->open(ordinal, read<miniinfer_device_info>(info)));
      for (Allocator* allocator : opened->device().allocators()) {
        const miniinfer_allocator table = allocator_table(*allocator);
        const miniinfer_code code = host()->register_allocator(host(), ordinal, &table);
        if (code != MINIINFER_OK) throw Error(code, "");
      }
      *out_api = opened->api();
      *out = opened.release()->handle();
    });
  }

  static const void* extension(miniinfer_plugin* plugin, const char* id) noexcept {
    const void* table = nullptr;
    guard_quietly("plugin.extension failed", [&] { table = backend(plugin)->extension(id); });
    return table;
  }

  static const miniinfer_plugin_api* get(const char* name) noexcept {
    static const miniinfer_plugin_api table = {MINIINFER_HEAD(miniinfer_plugin_api),
                                               name,
                                               T::kVersion,
                                               T::kVendor,
                                               sanitizer(),
                                               0,
                                               probe,
                                               init,
                                               shutdown,
                                               open,
                                               extension};
    return &table;
  }
};

}  // namespace detail

// Agrees on a minor version with the host: the newest that both [min, max] and the host's range
// have. Otherwise MINIINFER_INCOMPATIBLE, and the host's buffer says which ranges met.
inline miniinfer_code negotiate(miniinfer_entry& entry, const char* name, std::uint32_t min,
                                std::uint32_t max) noexcept {
  const std::uint32_t low = std::max(entry.host_min, min);
  const std::uint32_t high = std::min(entry.host_max, max);
  if (low <= high) {
    entry.chosen = high;
    return MINIINFER_OK;
  }
  if (entry.error != nullptr && entry.error_capacity != 0) {
    std::snprintf(entry.error, entry.error_capacity,
                  "plugin %s speaks boundary v%d.%u to v%d.%u, this host v%d.%u to v%d.%u", name,
                  MINIINFER_ABI_MAJOR, min, MINIINFER_ABI_MAJOR, max, MINIINFER_ABI_MAJOR,
                  entry.host_min, MINIINFER_ABI_MAJOR, entry.host_max);
  }
  return MINIINFER_INCOMPATIBLE;
}

// What the entry function does. While the major is 0 a plugin speaks exactly one minor.
template <class T>
miniinfer_code enter(miniinfer_entry* entry, const char* name) noexcept {
  static_assert(std::is_base_of_v<Backend, T>, "the class must derive from sdk::Backend");
  if (entry == nullptr || entry->head.size < sizeof(miniinfer_entry)) {
    return MINIINFER_INVALID_ARGUMENT;
  }
  entry->plugin = nullptr;
  const miniinfer_code code = negotiate(*entry, name, MINIINFER_ABI_MINOR, MINIINFER_ABI_MINOR);
  if (code == MINIINFER_OK) entry->plugin = detail::PluginTable<T>::get(name);
  return code;
}

}  // namespace miniinfer::sdk

// `name` is a bare word, [a-z][a-z0-9_]*; the file is libminiinfer_<name>.so.
#define MINIINFER_PLUGIN(name, Class)                                                              \
  MINIINFER_DEFINE_NOTE(#name);                                                                    \
  MINIINFER_EXTERN_C __attribute__((visibility("default"))) miniinfer_code MINIINFER_PLUGIN_ENTRY( \
      miniinfer_entry* entry) noexcept {                                                           \
    return ::miniinfer::sdk::enter<Class>(entry, #name);                                           \
  }                                                                                                \
  static_assert(true, "a semicolon may follow")
