#pragma once

// The call of a plugin's entry function and the check of the table it gives. The loader's helper
// (tools/probe) does the same in its own process first, with this very code: what would end the
// loader's process ends the helper's. Allocates nothing and needs nothing of the core.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "miniinfer/abi/plugin.h"

namespace miniinfer {

struct EntryOutcome {
  miniinfer_code code = MINIINFER_OK;
  const miniinfer_plugin_api* api = nullptr;  // set where `code` is MINIINFER_OK
  char text[512] = "";                        // otherwise, why; from the plugin: not safe to print

  void refuse(miniinfer_code why, const char* what) {
    code = why;
    std::snprintf(text, sizeof text, "%s", what);
  }
};

// The first required slot of the table that is not there; null: all are.
inline const char* missing_slot(const miniinfer_plugin_api& api) {
  if (!MINIINFER_HAS(miniinfer_plugin_api, &api, probe) || !api.probe) return "probe";
  if (!MINIINFER_HAS(miniinfer_plugin_api, &api, init) || !api.init) return "init";
  if (!MINIINFER_HAS(miniinfer_plugin_api, &api, device_open) || !api.device_open) {
    return "device_open";
  }
  return nullptr;
}

// `symbol` is what the file has under MINIINFER_PLUGIN_ENTRY_NAME, `name` the plugin's name by its
// file's.
inline EntryOutcome enter_plugin(void* symbol, const char* name, std::uint32_t host_min,
                                 std::uint32_t host_max) {
  constexpr std::size_t kLongest = 64;  // of the table's strings
  EntryOutcome outcome;
  if (symbol == nullptr) {
    outcome.refuse(MINIINFER_INVALID_ARGUMENT,
                   "not a plugin: it has no " MINIINFER_PLUGIN_ENTRY_NAME);
    return outcome;
  }
  miniinfer_plugin_entry function = nullptr;
  std::memcpy(&function, &symbol, sizeof function);
  miniinfer_entry entry{};
  entry.head = MINIINFER_HEAD(miniinfer_entry);
  entry.host_min = host_min;
  entry.host_max = host_max;
  entry.error = outcome.text;
  entry.error_capacity = sizeof outcome.text;
  outcome.code = function(&entry);
  outcome.text[sizeof outcome.text - 1] = '\0';
  if (outcome.code != MINIINFER_OK) {
    if (outcome.text[0] == '\0') {
      std::snprintf(outcome.text, sizeof outcome.text,
                    "its entry refused with code %d and without a word", outcome.code);
    }
    if (outcome.code < 0 || outcome.code > MINIINFER_INTERNAL) outcome.code = MINIINFER_INTERNAL;
    return outcome;
  }
  const miniinfer_plugin_api* api = entry.plugin;
  if (api == nullptr) {
    outcome.refuse(MINIINFER_INCOMPATIBLE, "its entry gave no table");
  } else if (entry.chosen < host_min || entry.chosen > host_max) {
    outcome.code = MINIINFER_INCOMPATIBLE;
    std::snprintf(outcome.text, sizeof outcome.text,
                  "its entry chose boundary v%u.%u, which was not offered", MINIINFER_ABI_MAJOR,
                  entry.chosen);
  } else if (!MINIINFER_HAS(miniinfer_plugin_api, api, sanitizer) || api->name == nullptr ||
             strnlen(api->name, kLongest) == kLongest || api->version == nullptr ||
             strnlen(api->version, kLongest) == kLongest ||
             (api->vendor != nullptr && strnlen(api->vendor, kLongest) == kLongest)) {
    outcome.refuse(MINIINFER_INCOMPATIBLE, "its table has no usable name, version or vendor");
  } else if (std::strcmp(api->name, name) != 0) {
    outcome.code = MINIINFER_INCOMPATIBLE;
    std::snprintf(outcome.text, sizeof outcome.text, "the file is called %s, its table says '%s'",
                  name, api->name);
  } else if (const char* slot = missing_slot(*api)) {
    outcome.code = MINIINFER_INCOMPATIBLE;
    std::snprintf(outcome.text, sizeof outcome.text, "its table has no %s function", slot);
  } else {
    outcome.api = api;
    outcome.text[0] = '\0';
  }
  return outcome;
}

}  // namespace miniinfer
