// A plugin in C99, from the headers alone: what a backend in another language starts from. It finds
// no device and says why; a real one lists them in `probe` and opens them in `device_open`.

#include <stdio.h>
#include <string.h>

#include "miniinfer/abi/plugin.h"

MINIINFER_DEFINE_NOTE("template");

static miniinfer_code probe(const miniinfer_host* host, miniinfer_probe* out) {
  (void)host;
  out->state = MINIINFER_PROBE_ABSENT;
  out->count = 0;
  strncpy(out->reason, "a template has no device", sizeof out->reason - 1);
  return MINIINFER_OK;
}

static miniinfer_code init(const miniinfer_host* host, miniinfer_plugin** out) {
  host->set_error(host, "a template cannot be used");
  *out = NULL;
  return MINIINFER_UNAVAILABLE;
}

static void shutdown(miniinfer_plugin* plugin) { (void)plugin; }

static miniinfer_code device_open(miniinfer_plugin* plugin, uint32_t ordinal,
                                  const miniinfer_device_info* info, miniinfer_device** out,
                                  const miniinfer_device_api** out_api) {
  (void)plugin;
  (void)ordinal;
  (void)info;
  *out = NULL;
  *out_api = NULL;
  return MINIINFER_UNAVAILABLE;
}

static const miniinfer_plugin_api api = {
    MINIINFER_HEAD(miniinfer_plugin_api),
    "template",
    "0.1.0",
    "Mini-Infer's tests",
    MINIINFER_SANITIZER_NONE,
    0,
    probe,
    init,
    shutdown,
    device_open,
    NULL,
};

#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
miniinfer_code
MINIINFER_PLUGIN_ENTRY(miniinfer_entry* entry);

miniinfer_code MINIINFER_PLUGIN_ENTRY(miniinfer_entry* entry) {
  if (entry == NULL || entry->head.size < sizeof *entry) return MINIINFER_INVALID_ARGUMENT;
  if (entry->host_min <= MINIINFER_ABI_MINOR && MINIINFER_ABI_MINOR <= entry->host_max) {
    entry->chosen = MINIINFER_ABI_MINOR;
    entry->plugin = &api;
    return MINIINFER_OK;
  }
  if (entry->error != NULL && entry->error_capacity != 0) {
    snprintf(entry->error, entry->error_capacity,
             "plugin template speaks boundary v%d.%d, this host v%d.%u to v%d.%u",
             MINIINFER_ABI_MAJOR, MINIINFER_ABI_MINOR, MINIINFER_ABI_MAJOR,
             (unsigned)entry->host_min, MINIINFER_ABI_MAJOR, (unsigned)entry->host_max);
  }
  return MINIINFER_INCOMPATIBLE;
}
